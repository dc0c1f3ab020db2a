"""`kreg.check` as a whole: nothing changes, nothing raises, one line each."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from linter_models import (
    L1,
    L2,
    bn,
    dense,
    functional,
    linear_model,
    nested,
)

import kreg
from kreg.statistics import check

S, K = kreg.schedules, keras.optimizers.schedules


def everything():
    """A model in which many rules have something to say."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            dense(),
            bn(),
            layers.Dense(3, kernel_regularizer=kreg.L1(0.1), name="l1"),
            layers.Dense(
                3,
                kernel_regularizer=kreg.L2(S.LinearRamp(0.1, 0.0, steps=9)),
                bias_regularizer=L1(0.1),
                name="ramp",
            ),
            layers.Dense(1, kernel_regularizer=L2(0.1), name="frozen"),
        ],
        name="net",
    )
    model.get_layer("frozen").trainable = False
    model.get_layer("l1").bias_regularizer = L2(0.1)
    model.compile(keras.optimizers.AdamW(use_ema=True), "mse")
    return model


@pytest.mark.parametrize("bound", [False, True])
def test_nothing_is_changed_or_printed(bound, capsys):
    model = everything()
    model.optimizer.build(model.trainable_variables)
    if bound:
        kreg.bind(model)
    model.make_train_function()
    step = model.train_function

    def state():
        variables = [*model.variables, *model.optimizer.variables]
        return (
            [ops.convert_to_numpy(v).tolist() for v in variables],
            [(id(v.regularizer), id(v.constraint)) for v in model.weights],
            model.to_json(),
            set(vars(model.optimizer)),
            [set(vars(layer)) for layer in model.layers],
        )

    before = state()
    assert len(check(model, steps=20, data_loss=0.01)) > 5
    assert state() == before
    assert model.train_function is step
    assert capsys.readouterr() == ("", "")


def test_each_rule_has_tests():
    rules = re.findall(r"- `([a-z0-9-]+)`:", check.__doc__)
    files = Path(__file__).parent.glob("test_*.py")
    text = "".join(file.read_text() for file in files)
    assert len(rules) > 10
    assert [rule for rule in rules if f'"{rule}"' not in text] == []


def test_every_finding_is_one_line_that_names_the_weight_and_a_fix():
    for found in check(everything(), steps=20, data_loss=0.01):
        assert "\n" not in str(found)
        assert str(found).startswith(found.path)
        assert found.message in str(found)
        assert len(str(found)) > len(found.path) + len(found.message) + 20
        assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", found.rule)


def test_line_breaks_in_names_do_not_break_the_line():
    layer = layers.Dense(2, kernel_regularizer=L1(0.1), name="a\nb")
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("adam", "mse")
    assert "\n" not in str(check(model)[0])


def test_finding_is_frozen():
    found = check(linear_model(kreg.L1(0.1), "adam"))[0]
    with pytest.raises(AttributeError):
        found.rule = "other"


class Wide(keras.Model):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def build(self, shape):
        for part in self.parts:
            part.build(shape)

    def call(self, x):
        return sum(part(x) for part in self.parts)


@pytest.mark.slow
def test_a_thousand_layers_make_a_handful_of_lines():
    model = Wide(
        [
            layers.Dense(2, kernel_regularizer=kreg.L1L2(0.1, 0.1), name=name)
            for name in map("d{}".format, range(1000))
        ]
    )
    model.build((None, 3))
    model.compile(keras.optimizers.AdamW(use_ema=True), "mse")
    findings = check(model)
    assert len(findings) == 3
    for found in findings:
        assert found.path.endswith("/d2/kernel and 997 more")


def test_fix_of_one_is_likewise_for_the_others():
    model = nested(layers.Dense(4, name="a"), layers.Dense(4, name="b"))
    for layer in model.layers:
        layer.kernel_regularizer = L2(0.1)
    (found,) = check(model)
    assert "get_layer('a')" in found.fix
    assert found.fix.endswith("likewise for the others")


def test_shared_layer_is_named_once():
    layer = layers.Dense(4, kernel_regularizer=kreg.L1(0.1), name="shared")
    model = functional(lambda x: layer(layer(x)))
    model.compile("adam", "mse")
    assert [f.path for f in check(model)] == ["shared/kernel"]


def test_equal_paths_are_told_apart():
    def part():
        layer = layers.Dense(2, kernel_regularizer=kreg.L1(0.1), name="same")
        return functional(layer, (2,))

    model = functional(lambda x: part()(part()(x)), (2,))
    model.compile("adam", "mse")
    assert check(model)[0].path == "same/kernel, same/kernel#2"


class Raising(layers.Layer):
    """A layer whose properties raise, with a weight whose callables do."""

    def build(self, shape):
        def raising(w):
            raise RuntimeError("not now")

        self.kernel = self.add_weight(
            shape=(shape[-1], 2), name="kernel", regularizer=raising
        )
        self.kernel.constraint = lambda w: 1 / 0
        self.other = self.add_weight(shape=(), regularizer=WithoutConfig())

    @property
    def kernel_regularizer(self):
        raise RuntimeError("no regularizer")

    @property
    def activation(self):
        raise KeyError("no activation")

    def call(self, x):
        return ops.matmul(x, self.kernel) + self.other


class WithoutConfig(keras.regularizers.Regularizer):
    def __call__(self, w):
        raise ValueError("no value")

    def get_config(self):
        raise NotImplementedError


class RaisingSchedule(K.LearningRateSchedule):
    def __call__(self, step):
        if ops.convert_to_numpy(step).any():
            raise RuntimeError("no value")
        return 0.1

    def get_config(self):
        raise NotImplementedError


class RaisingPenalty(kreg.L2):
    def proximal_step(self, w, effective_step, strengths, groups=None):
        raise RuntimeError("no step")

    def grouping(self, shape, layout=None):
        raise RuntimeError("no groups")


class RaisingModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.parts = [
            Raising(),
            layers.Dense(2, kernel_regularizer=kreg.L1(RaisingSchedule())),
            layers.Dense(2, kernel_regularizer=RaisingPenalty(0.1)),
            layers.BatchNormalization(gamma_regularizer=WithoutConfig()),
        ]
        self.unused = layers.Dense(2, kernel_regularizer=kreg.L1(0.1))

    @property
    def layers(self):
        raise RuntimeError("no layers")

    def build(self, shape):
        for part in self.parts:
            part.build((None, 3) if part is self.parts[0] else (None, 2))

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


def choose_nothing(variable):
    raise RuntimeError("no optimizer")


@pytest.mark.parametrize(
    "optimizer",
    [
        None,
        lambda: keras.optimizers.AdamW(use_ema=True),
        lambda: keras.optimizers.MultiOptimizer(choose_nothing),
        lambda: keras.optimizers.Ftrl(),
    ],
)
def test_hostile_model_raises_nothing(optimizer):
    with pytest.MonkeyPatch.context() as patch:
        # Keras itself evaluates regularizers when it builds a model.
        patch.setattr(keras.layers.Layer, "losses", [])
        model = RaisingModel()
        model(np.ones((2, 3), "float32"))
    if optimizer is not None:
        model.compile(optimizer(), "mse")
    check(model, steps=10, data_loss=0.0)


@pytest.mark.thorough
def test_mobile_net_is_right():
    model = keras.applications.MobileNetV2(weights=None, classes=2)
    model.compile("adam", "mse")
    assert check(model, steps=1000, data_loss=1.0) == ()


@pytest.mark.parametrize("value", [None, "net", layers.Dense(1)])
def test_no_model(value):
    with pytest.raises(TypeError, match=r"`model` must be a `keras\.Model`"):
        check(value)


def test_model_that_is_not_built():
    with pytest.raises(ValueError, match="`model` must be built"):
        check(keras.Sequential([layers.Dense(1)]))


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("steps", 0, ValueError),
        ("steps", -1, ValueError),
        ("steps", 1.5, TypeError),
        ("steps", True, TypeError),
        ("data_loss", "1", TypeError),
        ("data_loss", True, TypeError),
        ("data_loss", np.nan, ValueError),
        ("data_loss", np.inf, ValueError),
    ],
)
def test_bad_argument(argument, value, error):
    with pytest.raises(error, match=f"`{argument}` must be"):
        check(linear_model(), **{argument: value})
