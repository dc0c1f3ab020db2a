"""Every public argument is checked, and the error names it in backticks.

The walk reads the signatures of all public names. Each argument has a kind in
`ARGUMENTS` below, and each kind a list of bad values. An argument without a
kind, or a bad value that is taken, that raises something else than TypeError or
ValueError, or whose error does not name the argument, fails the test.
"""

import concurrent.futures
import functools
import inspect
import os
import re
import warnings
from collections import Counter

import keras
import numpy as np
import pytest
from instances import PENALTY_TABLE

import kreg
import kreg.cli

MODULES = [
    kreg,
    kreg.cli,
    *(m for m in map(kreg.__dict__.get, kreg.__all__) if inspect.ismodule(m)),
]
NAN, INF = float("nan"), float("inf")
HUGE = 10**400
NO_TYPE = [b"bytes", [], {}, set(), object(), 1j, np.ones(2), keras.layers]
NUMBER = [*NO_TYPE, None, "1", True, np.True_, NAN, INF, -INF, HUGE, -HUGE]
INTEGER = [*NUMBER, 1.5, "epoch ", -1, np.float32(2.0)]
TEXT = [*NO_TYPE, None, True, 3, 2.5, ""]
STRENGTH = [
    *NUMBER,
    -1.0,
    {"rate": 1.0},
    {"class_name": "L1", "config": {}},
    {"module": "builtins", "class_name": "dict", "config": {}},
    lambda step: 1.0,
    kreg.L1,
    kreg.L1(0.1),
]
ITEMS = [*NO_TYPE[4:6], 3, 2.5, True, "text", b"bytes", keras.layers]
MODEL = [*TEXT, keras.Model, keras.layers.Dense(1)]
BAD = {
    "number": NUMBER,
    "nonnegative": [*NUMBER, -1.0, -1e-30],
    "positive": [*NUMBER, -1.0, 0, 0.0],
    "fraction": [*NUMBER, -0.1, 1.0, 1.5],
    "inner fraction": [*NUMBER, -0.1, 0.0, 1.0, 1.5],
    "threshold": [*NUMBER, 0.5, 1.1],
    "above two": [*NUMBER, 2.0, -3.0],
    "integer": [*INTEGER, 0],
    "count": INTEGER,
    "step": [
        *(b"bytes", {}, set(), object(), None, "1", keras.layers, NAN),
        *(
            np.array("a"),
            np.array(1.5),
            np.float32(2.0),
            np.True_,
            np.array(-1),
        ),
        keras.ops.convert_to_tensor(1.5),
    ],
    "strength": STRENGTH,
    "scalar": [b"bytes", [], {}, object(), 1j, None, "1", True, NAN, INF, HUGE],
    "bool": [*NO_TYPE, None, "no", "", 0, 1, 2.0, NAN],
    "bool?": [*NO_TYPE, "no", "", 0, 1, 2.0, NAN],
    "verbose": [*NO_TYPE, None, "1", 0.5, 2, -1, NAN],
    "path": [*TEXT, "a\0b"],
    "text": TEXT,
    "choice": [*TEXT, "no such choice"],
    "epoch or integer": [*INTEGER, 0, "epochs"],
    "callable": [*TEXT, "text"],
    "maker": [*TEXT, "L1", kreg.L1(0.1), keras.regularizers.L1],
    "model": MODEL,
    "built model": [*MODEL, keras.Sequential()],
    "rules": [
        *(3, None, True, "", "no such regularizer", object(), 1j),
        [3],
        [(3, 4)],
        [("*",)],
        {"*": 3},
    ],
    "optimizer": [*TEXT, "no such optimizer", keras.optimizers.SGD],
    "optimizer or none": [*TEXT, "adam", keras.optimizers.SGD],
    "optimizer class": [*TEXT, "adam", keras.optimizers.SGD(), int],
    "memory": [*TEXT, "text", int, keras.optimizers.SGD()],
    "momentum": [*NUMBER, -0.1, 1.0, 1.5],
    "variable": [*TEXT, "text"],
    "weights": [*ITEMS, [3], ["kernel"], [None]],
    "regularizer": [*TEXT, "no such", kreg.L1(0.1), {"a": 1}],
    "factors": [
        *("a", b"a", object(), 1j, NAN, INF, -1.0, [[1.0], [1.0, 2.0]]),
        *({}, ["a"], [-1.0], HUGE, True, [True]),
    ],
    "groups": [
        "layers",
        None,
        True,
        1.5,
        (0.5,),
        (True,),
        ("units",),
        object(),
    ],
    "interval": [
        "ab",
        None,
        3,
        object(),
        [],
        (1.0,),
        (2.0, 1.0),
        (0.0, 1.0),
        ("a", "b"),
        (1, NAN),
        keras.Variable([1.0, 2.0]),
        keras.ops.convert_to_tensor([1.0, 2.0]),
        np.array(1.0),
    ],
    "mapping": [*NO_TYPE[:2], object(), 3, True, "text", {3: 4}, {"a": []}],
    "config": [*TEXT[:2], object(), 3, None, "text", {"no": 1}],
    "executor": [*TEXT, concurrent.futures.ThreadPoolExecutor],
    "console": [*TEXT, "text", print],
    "axes": [*TEXT, "text"],
    "schedules": [*ITEMS, [], [None], ["a"], [1.0], [-1.0]],
    "boundaries": [*ITEMS, [None], [0], [1.5], [True], [1, 2], [HUGE]],
    "strengths": [
        *ITEMS,
        *(None, [], [-1.0], ["a"], [True], [NAN], [1.0, 1.0], [HUGE], "up"),
    ],
    "strengths by name": [
        *(3, None, True, "up", [], [-1.0], ["a"], {3: [0.1], "b": [0.1]}),
        *({"L1": "up"}, {"L1": 3}, {"L1": [-1.0]}, {"L1": None}),
    ],
    "data": [
        *(3, 2.5, True, None, "text", b"bytes", object(), (), {}, []),
        *((np.ones((4, 2)),), (np.ones((4, 2)), np.ones(3)), ("a", "b")),
        (np.full((4, 2), NAN), np.ones(4)),
        (np.ones((0, 2)), np.ones(0)),
        (np.ones((4, 2)), np.full(4, NAN)),
    ],
    "validation": [
        *(True, "text", b"bytes", object(), 1.0, 1.5, -0.1, 0.0, NAN, HUGE),
        *((np.ones((4, 2)),), (np.ones((4, 2)), np.ones(3))),
    ],
    "sample": [*TEXT, "text", np.ones((2, 9)), [np.ones((2, 2))] * 2],
    "tokens": [*ITEMS, [], [-1], ["a"], [1.5], {3: [1]}, {"x": "zeros"}],
    "penalties": [3, True, "L1", object(), [], {}, [3], {"a": 3}, {3: kreg.L1}],
    "tuned penalties": [3, True, "L1", object(), {}, [], {"a": 3}],
    "folds": [*NO_TYPE[3:5], None, True, "text", 1, 0, -1, 2.5, [], HUGE, NAN],
    "seeds": [*ITEMS, None, [], [-1], ["a"], [True], [1.5], [0, 0], [HUGE]],
    "select": [*TEXT, "worst", 0.0, 1.0, NAN],
    "training": [*TEXT, "text", kreg.selection.Training],
    "execution": [*TEXT, "text", kreg.selection.Execution],
    "path result": [*TEXT, "text", kreg.selection.PathResult],
    "result": [*TEXT, "text", kreg.selection.PathResult],
    "names": [*ITEMS, [], [3], ["a"]],
    "penalty name": [*NO_TYPE, True, 3, "no such penalty"],
    "hyperparameters": [*TEXT, "text"],
    "command": [object(), 1j, True, 3, b"bytes", "export a", [3], [None]],
    "file": ["missing"],
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 2)).astype("float32")
Y = RNG.normal(size=(6, 1)).astype("float32")


def model():
    made = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, kernel_regularizer=kreg.L1())]
    )
    made.compile("sgd", "mse")
    return made


def build_model():
    return model()


def point(strength):
    return kreg.selection.PathPoint(
        *(strength, None, 0.0, 2, 0, 0, (0, 1), {}),
        *({"data_loss": 1.0}, 1, 1, None, 0.1, True),
    )


def path_result():
    return kreg.selection.PathResult(
        (point(0.2), point(0.1)), "L1", weights=((np.ones((2, 1)),),) * 2
    )


def stability_result():
    return kreg.selection.StabilityResult(
        ((0,), (0, 1)), num_features=2, limit=2, threshold=0.75
    )


def compare_result():
    row = kreg.selection.CompareRow("L1", 0.1, *(0.0,) * 9)
    return kreg.selection.CompareResult(
        *((row,), {"L1": "L1"}, "data_loss", "best", 2, (0,), {"L1": 0}),
        *("L1", (), ""),
    )


def training():
    return kreg.selection.Training(1)


def hyperparameters():
    tuner = pytest.importorskip("keras_tuner")
    return tuner.HyperParameters()


def path_arguments():
    return {
        "build_model": build_model,
        "data": (X, Y),
        "penalty": kreg.L1,
        "strengths": [0.1],
        "training": training(),
    }


def compare_arguments():
    arguments = path_arguments()
    del arguments["penalty"]
    return {**arguments, "penalties": [kreg.L1], "folds": 2}


SCHEDULE = {"start": "nonnegative", "end": "nonnegative", "steps": "integer"}
CHOSEN = {"build_model": "callable", "penalty": "maker", "training": "training"}
SELECTOR = {
    "build_model": "callable",
    "penalty": "maker",
    "training": "training?",
    "strengths": "strengths",
    "seed": "count",
}
PLOT = {"feature_names": "names?", "ax": "axes?"}


def kinds_of(cls, row):
    """The kinds of the arguments of a penalty; its row has the unusual ones."""
    usual = {
        **dict.fromkeys(cls.strength_names(), "strength"),
        "factors": "factors?",
        "multiplier": "nonnegative",
    }
    parameters = inspect.signature(cls).parameters
    known = {**usual, **row.kinds}
    return {name: known[name] for name in parameters if name in known}


# The kind of each argument. A kind with `?` takes None.
ARGUMENTS = {
    **{
        f"kreg.{cls.__name__}": kinds_of(cls, row)
        for cls, row in PENALTY_TABLE.items()
    },
    "StrengthRegularizer.multiplier": {"multiplier": "nonnegative"},
    "StrengthRegularizer.from_config": {"config": "config"},
    "kreg.ProximalOptimizer": {"inner_optimizer": "optimizer", "name": "text"},
    "ProximalOptimizer.from_config": {"config": "config"},
    "kreg.RegularizationMonitor": {
        "log_dir": "path",
        "update_freq": "epoch or integer",
        "histogram_freq": "count",
        "image_freq": "count",
        "add_to_logs": "bool",
        "hparams": "mapping?",
        "threshold": "nonnegative",
        "check": "bool",
    },
    "kreg.TargetSparsity": {
        "target": "fraction",
        "weights": "weights?",
        "units": "bool",
        "per_layer": "bool",
        "bounds": "interval",
        "stop_at_target": "bool",
        "backup_path": "path?",
        "verbose": "verbose",
    },
    "kreg.callbacks.StrengthScheduler": {
        "function": "callable",
        "weights": "weights?",
        "verbose": "verbose",
    },
    "kreg.attach": {
        "model": "built model",
        "rules": "rules",
        "sample": "sample?",
    },
    "kreg.bind": {"model": "model", "optimizer": "optimizer or none?"},
    "kreg.check": {
        "model": "built model",
        "steps": "integer?",
        "data_loss": "number?",
    },
    "kreg.compact": {
        "model": "built model",
        "sample": "sample?",
        "round_to": "integer",
        "drop_inputs": "bool",
        "norms_as_operations": "bool",
        "keep_class": "bool?",
        "drop_tokens": "tokens?",
        "return_compaction": "bool",
    },
    "kreg.compare": {
        "build_model": "callable",
        "data": "data",
        "penalties": "penalties?",
        "training": "training",
        "strengths": "strengths by name",
        "folds": "folds",
        "seeds": "seeds",
        "test": "validation?",
        "select": "select",
        "execution": "execution",
    },
    "kreg.export": {
        "model": "built model",
        "path": "path",
        "format": "choice",
        "compact": "bool",
        "sample": "sample?",
        "batch_size": "integer?",
        "tolerance": "positive?",
        "overwrite": "bool",
    },
    "kreg.freeze_support": {"model": "built model", "weights": "weights?"},
    "kreg.unfreeze_support": {"model": "model"},
    "kreg.path": {
        **CHOSEN,
        "data": "data",
        "strengths": "strengths",
        "validation": "validation?",
        "directory": "path?",
        "seed": "count",
        "verbose": "verbose",
    },
    "kreg.penalties": {"model": "built model"},
    "kreg.strength_max": {
        "model": "built model",
        "data": "data",
        "penalty": "maker",
    },
    "kreg.strip": {"model": "model"},
    "kreg.summary": {"model": "built model", "console": "console?"},
    "kreg.cli.main": {"arguments": "command?"},
    "kreg.binding.at_step": {"step": "step"},
    "kreg.binding.is_bound": {"model": "model"},
    "kreg.binding.unbind": {"model": "model"},
    "kreg.deployment.deploy_report": {
        "before": "built model",
        "after": "built model?",
        "data": "data?",
        "sample": "sample?",
        "batch_size": "integer",
        "runs": "integer",
    },
    "kreg.optimizers.EffectiveStep": {
        "step": "scalar",
        "limit": "scalar?",
        "iterate": "variable?",
        "iterate_coefficient": "scalar",
    },
    "kreg.optimizers.GradientMemory": {"slots": "text", "scale": "callable"},
    "kreg.optimizers.register_optimizer": {
        "optimizer_class": "optimizer class",
        "gradient_memory": "memory?",
        "momentum": "momentum?",
        "momentum_holds_rate": "bool",
    },
    "kreg.schedules.LinearRamp": SCHEDULE,
    "kreg.schedules.CosineRamp": SCHEDULE,
    "kreg.schedules.GeometricRamp": {
        **SCHEDULE,
        "start": "positive",
        "end": "positive",
    },
    "kreg.schedules.Delay": {
        "schedule": "strength",
        "steps": "integer",
        "before": "nonnegative",
    },
    "kreg.schedules.Cycle": {"schedule": "strength", "period": "integer"},
    "kreg.schedules.Join": {
        "schedules": "schedules",
        "boundaries": "boundaries",
    },
    "ScalarSchedule.from_config": {"config": "config"},
    "kreg.selection.Execution": {
        "executor": "executor?",
        "directory": "path?",
        "verbose": "verbose",
    },
    "kreg.selection.FeatureSelector": {
        **SELECTOR,
        "strength": "nonnegative?",
        "num_features": "integer?",
        "validation": "validation?",
        "directory": "path?",
    },
    "kreg.selection.StabilitySelector": {
        **SELECTOR,
        "expected_false": "positive",
        "threshold": "threshold",
        "pairs": "integer",
        "execution": "execution?",
    },
    "kreg.selection.LocalProcesses": {
        "workers": "integer?",
        "threads": "integer?",
    },
    "kreg.selection.StrengthGrid": {
        "num": "integer",
        "ratio": "inner fraction",
        "values": "strengths?",
        "direction": "choice",
    },
    "StrengthGrid.below": {"largest": "nonnegative"},
    "StrengthGrid.resolved": {"largest": "nonnegative"},
    "kreg.selection.Training": {
        "epochs": "integer",
        "batch_size": "integer?",
        "tolerance": "nonnegative?",
        "patience": "integer?",
        "monitor": "text",
        "refit": "bool",
    },
    "kreg.selection.entry_order": {
        "result": "path result",
        "feature_names": "names?",
    },
    "kreg.selection.first_features": {
        "result": "path result",
        "number": "integer",
    },
    "kreg.selection.input_lasso": {"strength": "strength"},
    "kreg.selection.plot_coefficients": {
        "result": "path result",
        **PLOT,
        "weight": "count",
        "max_labels": "integer",
    },
    "kreg.selection.plot_entry": {
        "result": "path result",
        **PLOT,
        "max_features": "integer",
    },
    "kreg.selection.plot_stability": {
        "result": "result",
        **PLOT,
        "max_features": "integer",
    },
    "kreg.selection.plot_sparsity": {"result": "result", "ax": "axes?"},
    "kreg.selection.plot_validation": {"result": "result", "ax": "axes?"},
    "kreg.selection.stability_bound": {
        "num_selected": "positive",
        "num_features": "integer",
        "threshold": "threshold",
        "pairs": "integer",
        "unimodal": "bool",
    },
    "kreg.selection.stability_selection": {
        **CHOSEN,
        "data": "data",
        "strengths": "strengths",
        "expected_false": "positive",
        "threshold": "threshold",
        "pairs": "integer",
        "execution": "execution",
        "seed": "count",
    },
    "kreg.selection.tune_penalty": {
        "hp": "hyperparameters",
        "penalties": "tuned penalties?",
        "minimum": "positive",
        "maximum": "positive",
        "name": "text",
    },
    "CompareResult.best": {"penalty": "penalty name?"},
    "CompareResult.rows_of": {"penalty": "penalty name"},
    "CompareResult.print": {"console": "console?"},
    "CompareResult.write_hparams": {"log_dir": "path"},
    "CompareResult.save": {"path": "path"},
    "CompareResult.load": {"path": "path"},
    "PathResult.save": {"path": "path"},
    "PathResult.load": {"path": "path"},
    "SavedResult.save": {"path": "path"},
    "SavedResult.load": {"path": "path"},
    "kreg.statistics.read": {
        "model": "built model",
        "data_loss": "number?",
        "threshold": "nonnegative",
    },
}

# Public callables that users do not call with values of their own.
NOT_CALLED_BY_USERS = {
    "Keras calls these hooks of a callback or an optimizer": [
        r".*\.on_(epoch|train|train_batch)_(begin|end)",
        r".*\.set_model",
        r"ProximalOptimizer\.(apply|build|finalize_variable_values)",
        r"ProximalOptimizer\.(scale_loss|set_weights|learning_rate)",
        r"ProximalOptimizer\.(apply_gradients|assign\w*|update_step)",
        r"ProximalOptimizer\.exclude_from_weight_decay",
        r"LocalProcesses\.(submit|shutdown)",
    ],
    "the contract of penalties, called in traced steps with tensors": [
        r".*\.(entries_step|entries_value|evaluate|grouping|observe)",
        r".*\.(proximal_step|strengths|value|warn_unbound|inside)",
        r".*\.(steer|save_own_variables|load_own_variables)",
        r"(Binding|BoundRegularizer|BoundPenalty)\.\w+",
    ],
    "abstract": [r"kreg\.regularizers\.Penalty"],
    "results: kreg makes them, and reads what it has written": [
        r"kreg\.binding\.(Binding|BoundPenalty)",
        r"kreg\.deployment\.(DeployReport|ExportRecord|Latency|ModelFigures)",
        r"kreg\.selection\.(Compare(Result|Row)|Comparison|FeatureEntry)",
        r"kreg\.selection\.(Path(Point|Result)|StabilityResult)",
        r"kreg\.statistics\.(Findings?|\w*Reading|Penalties)",
        r"kreg\.surgery\.(Changes?|Compaction|LayerCompaction)",
        r"\w+\.from_dict",
        r"\w+\.value_of",
    ],
    "scikit-learn's and the selection's own data": [
        r"\w+Selector\.\w+",
        r"kreg\.selection\.(Arrays|TrainingData)",  # checked where used
        r"Arrays\.rows",
        r"Execution\.folder",
    ],
}
# Arguments that take what they are given, by the reason.
FREE = {
    "options of Keras, which names them": [("kreg.export", "options")],
    "Keras passes it": [("ProximalOptimizer.from_config", "custom_objects")],
}


@functools.cache
def good_arguments(name):
    """Good arguments of a call: all that it needs, and a model."""
    arguments = {
        "kreg.RegularizationMonitor": {"log_dir": "logs"},
        "kreg.TargetSparsity": {"target": 0.5},
        "kreg.callbacks.StrengthScheduler": {"function": lambda epoch: 1.0},
        "kreg.ProximalOptimizer": {"inner_optimizer": "sgd"},
        "kreg.Scheduled": {"regularizer": "l2"},
        "kreg.strength_max": {"data": (X, Y)},
        "kreg.attach": {"rules": "l2"},
        "kreg.export": {"path": "net.keras", "format": "keras"},
        "kreg.path": path_arguments(),
        "kreg.compare": compare_arguments(),
        "kreg.selection.stability_selection": {
            **path_arguments(),
            "penalty": kreg.selection.input_lasso,
            "pairs": 1,
            "expected_false": 1.9,
        },
        "kreg.selection.FeatureSelector": {
            "build_model": lambda number: model(),
            "training": training(),
            "strengths": [0.1],
        },
        "kreg.selection.StabilitySelector": {
            "build_model": lambda number: model(),
            "training": training(),
            "strengths": [0.1],
            "pairs": 1,
            "expected_false": 1.9,
        },
        "kreg.optimizers.EffectiveStep": {"step": 0.1},
        "kreg.optimizers.GradientMemory": {
            "slots": "momentums",
            "scale": lambda optimizer: 1.0,
        },
        "kreg.optimizers.register_optimizer": {
            "optimizer_class": keras.optimizers.SGD
        },
        "kreg.schedules.Delay": {"schedule": 1.0, "steps": 2},
        "kreg.schedules.Cycle": {"schedule": 1.0, "period": 2},
        "kreg.schedules.Join": {"schedules": [1.0, 2.0], "boundaries": [3]},
        "kreg.selection.Training": {"epochs": 1},
        "kreg.selection.first_features": {"number": 1},
        "kreg.selection.stability_bound": {
            "num_selected": 2,
            "num_features": 9,
            "threshold": 0.75,
        },
        "kreg.selection.tune_penalty": {},
    }.get(name, {})
    if name in (f"kreg.schedules.{kind}Ramp" for kind in SCHEDULES):
        arguments = {"start": 1.0, "end": 2.0, "steps": 3}
    kinds = ARGUMENTS[name]
    makers = {
        "model": model,
        "before": model,
        "hp": hyperparameters,
    }
    if "result" in kinds:
        is_stable = name.endswith("plot_stability")
        makers["result"] = stability_result if is_stable else path_result
    for argument in kinds:
        if argument in makers and argument not in arguments:
            arguments[argument] = makers[argument]()
    return arguments


SCHEDULES = ("Linear", "Cosine", "Geometric")


def fitted(selector_class):
    """Selectors check their arguments in `fit`, as scikit-learn demands."""

    def fit(**arguments):
        return selector_class(**arguments).fit(X, Y[:, 0])

    return fit


def entered(context):
    def enter(**arguments):
        with context(**arguments):
            pass

    return enter


def set_multiplier(multiplier):
    kreg.L1(0.1).multiplier = multiplier


def instance_of(name):
    """An object whose method `name` is called."""
    return {
        "CompareResult": compare_result,
        "PathResult": path_result,
        "SavedResult": stability_result,
        "StrengthGrid": kreg.selection.StrengthGrid,
        "StrengthRegularizer": kreg.L1,
        "ProximalOptimizer": lambda: kreg.ProximalOptimizer("sgd"),
        "ScalarSchedule": lambda: kreg.schedules.LinearRamp(0.0, 1.0, 2),
    }[name]()


def callable_of(name):
    """The function to call for an entry of `ARGUMENTS`."""
    if name == "StrengthRegularizer.multiplier":
        return set_multiplier
    if not name.startswith("kreg."):
        owner, _, method = name.partition(".")
        return getattr(instance_of(owner), method)
    *path, last = name.split(".")
    module = kreg
    for part in path[1:]:
        module = getattr(module, part)
    found = getattr(module, last)
    if name.endswith("Selector"):
        return fitted(found)
    return entered(found) if last == "at_step" else found


def public_callables():
    """The public functions, classes, methods and settable properties.

    Yields:
        The name and the names of its arguments. A class has the first public
        name of it; a method has the name of the class that defines it.
    """
    seen = set()
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value) or id(value) in seen:
                continue
            seen.add(id(value))
            if type(value) is type(list[int]) or not callable(value):
                continue
            yield f"{module.__name__}.{name}", parameters_of(value)
            if not inspect.isclass(value):
                continue
            for owner in value.__mro__:
                if not owner.__module__.startswith("kreg"):
                    continue
                for key, member in vars(owner).items():
                    label = f"{owner.__name__}.{key}"
                    if key.startswith("_") or label in seen:
                        continue
                    seen.add(label)
                    if isinstance(member, property):
                        if member.fset:
                            yield label, [key]
                    elif callable(getattr(value, key)):
                        yield label, parameters_of(getattr(value, key))


def parameters_of(value):
    try:
        parameters = inspect.signature(value).parameters
    except ValueError:  # of a builtin
        return []
    return [name for name in parameters if name not in ("self", "iterable")]


PUBLIC = dict(public_callables())
EXEMPT = [
    re.compile(p) for group in NOT_CALLED_BY_USERS.values() for p in group
]
FREE_ARGUMENTS = {pair for group in FREE.values() for pair in group}


def test_each_public_argument_has_a_kind():
    missing = {}
    for name, parameters in PUBLIC.items():
        if any(pattern.fullmatch(name) for pattern in EXEMPT):
            continue
        known = ARGUMENTS.get(name, {})
        missing[name] = [
            p
            for p in parameters
            if p not in known and (name, p) not in FREE_ARGUMENTS
        ]
    assert {name: found for name, found in missing.items() if found} == {}
    kinds = {kind for each in ARGUMENTS.values() for kind in each.values()}
    assert {kind.removesuffix("?") for kind in kinds} <= BAD.keys()


def test_each_entry_of_the_tables_is_public():
    stale = [name for name in ARGUMENTS if name not in PUBLIC]
    assert stale == []
    for pattern in EXEMPT:
        assert any(map(pattern.fullmatch, PUBLIC)), pattern


def bad_values(kind):
    values = BAD[kind.removesuffix("?")]
    if kind.endswith("?"):
        values = [value for value in values if value is not None]
    return values


def outcome_of(name, argument, bad):
    """What a call with one bad argument does: "refused", or what is wrong."""
    arguments = {**good_arguments(name), argument: bad}
    function = callable_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            function(**arguments)
        except (TypeError, ValueError) as error:
            named = re.search(rf"`{argument}(\[[^`]*|=[^`]*)?`", str(error))
            return "refused" if named else f"unnamed: {error!r:.150}"
        except BaseException as error:
            return f"other exception: {error!r:.150}"
    return "accepted"


@pytest.mark.parametrize("name", ARGUMENTS)
def test_bad_arguments_are_refused_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcomes = Counter()
    for argument, kind in ARGUMENTS[name].items():
        for bad in bad_values(kind):
            outcome = outcome_of(name, argument, bad)
            outcomes[outcome] += 1
            if outcome != "refused":
                print(f"{argument}={bad!r:.60}: {outcome}")
    assert set(outcomes) == {"refused"}, outcomes
    assert os.listdir(tmp_path) == []


def test_the_walk_is_long():
    calls = [
        bad
        for kinds in ARGUMENTS.values()
        for kind in kinds.values()
        for bad in bad_values(kind)
    ]
    print(f"{len(calls)} calls of {len(ARGUMENTS)} functions")
    assert len(calls) > 3000
