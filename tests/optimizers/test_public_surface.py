"""Each public name of Keras's optimizers acts through `ProximalOptimizer`.

The names are read from Keras's class, so a name that Keras adds fails here
until it has a row in one of the tables. Plain Keras is the reference.
"""

import keras
import numpy as np
import pytest
from keras import ops, optimizers
from thorough import few_of

import kreg

PUBLIC = [n for n in dir(optimizers.Optimizer(0.1)) if not n.startswith("_")]
GRADIENTS = np.array([[3.0, 0.1], [-1.0, 2.0], [0.5, 0.5], [-2.0, 1.0]])


def plain(**settings):
    return optimizers.SGD(0.25, momentum=0.5, use_ema=True, **settings)


def wrapped(**settings):
    return kreg.ProximalOptimizer(plain(**settings))


def kept_by_keras(optimizer):
    """The variables beside the average of learning rates, which kreg adds."""
    return [v for v in optimizer.variables if "average_rate" not in v.name]


def new_weight():
    return keras.Variable(np.array([1.0, 2.0], "float32"), name="bias")


def new_weights():
    start = np.array([1.0, 2.0], "float32")
    return [keras.Variable(start, name=name) for name in ("kernel", "bias")]


def taken(optimizer, weights=None):
    """Two weights after four updates, and after the end of training."""
    weights = weights or new_weights()
    for gradient in GRADIENTS:
        gradient = ops.convert_to_tensor(gradient, "float32")
        optimizer.apply([gradient, ops.flip(gradient)], weights)
    last = [ops.convert_to_numpy(weight).tolist() for weight in weights]
    optimizer.finalize_variable_values(weights)
    return last + [ops.convert_to_numpy(weight).tolist() for weight in weights]


SETTINGS = {
    "clipnorm": 0.5,
    "clipvalue": 0.5,
    "ema_momentum": 0.5,
    "global_clipnorm": 0.5,
    "gradient_accumulation_steps": 2,
    "learning_rate": 0.125,
    "loss_scale_factor": 8.0,
    "use_ema": False,
    "weight_decay": 0.5,
}
"""Settings, each with a value that changes the updates."""


def _with_a_variable_of_its_own(method, *arguments):
    def act(optimizer):
        optimizer.build([new_weight()])
        made = getattr(optimizer, method)(*arguments)
        made = made if isinstance(made, list) else [made]
        ids = [id(variable) for variable in optimizer.variables]
        # From the end, because kreg adds a variable of its own before.
        places = [ids.index(id(v)) - len(ids) for v in made]
        return places, [v.shape for v in made]

    return act


def _assigned(method):
    def act(optimizer):
        weight = new_weight()
        getattr(optimizer, method)(weight, ops.ones(2))
        return ops.convert_to_numpy(weight).tolist()

    return act


def _apply_gradients(optimizer):
    weight = new_weight()
    for gradient in GRADIENTS[:3]:
        gradient = ops.convert_to_tensor(gradient, "float32")
        steps = optimizer.apply_gradients([(gradient, weight)])
    return int(steps), ops.convert_to_numpy(weight).tolist()


def _build(optimizer):
    before = optimizer.built
    optimizer.build([new_weight()])
    return before, optimizer.built, len(kept_by_keras(optimizer))


def _exclude_from_weight_decay(optimizer):
    optimizer.weight_decay = 0.5
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return taken(optimizer)


def _own_variables(optimizer):
    taken(optimizer)
    store, loaded, weights = {}, wrapped(), new_weights()
    optimizer.save_own_variables(store)
    loaded.build(weights)
    loaded.load_own_variables(store)
    return taken(loaded, weights)


def _own_variables_into(optimizer):
    first, store, weights = plain(), {}, new_weights()
    taken(first)
    first.save_own_variables(store)
    optimizer.build(weights)
    optimizer.load_own_variables(store)
    return taken(optimizer, weights)


def _scale_loss(optimizer):
    optimizer.loss_scale_factor = 8.0
    return float(optimizer.scale_loss(ops.ones(())))


def _set_weights(optimizer):
    first, weights = plain(), new_weights()
    taken(first)
    optimizer.build(weights)
    optimizer.set_weights([v.numpy() for v in first.variables])
    return taken(optimizer, weights)


def _stateless_apply(optimizer):
    weight = new_weight()
    optimizer.build([weight])
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(ValueError, match="stateless_apply is not supp"):
            optimizer.stateless_apply([], [], [])
        return None
    values = [v.value for v in optimizer.variables]
    new, state = optimizer.stateless_apply(
        values, [ops.ones(2)], [weight.value]
    )
    kept = {id(v) for v in kept_by_keras(optimizer)}
    pairs = zip(state, optimizer.variables, strict=True)
    state = [value for value, v in pairs if id(v) in kept]
    return [ops.convert_to_numpy(value).tolist() for value in new + state]


ACTIONS = {
    "add_optimizer_variables": _with_a_variable_of_its_own(
        "add_optimizer_variables", [new_weight()], "extra"
    ),
    "add_variable": _with_a_variable_of_its_own("add_variable", (3,)),
    "add_variable_from_reference": _with_a_variable_of_its_own(
        "add_variable_from_reference", new_weight()
    ),
    "apply": taken,
    "apply_gradients": _apply_gradients,
    "assign": _assigned("assign"),
    "assign_add": _assigned("assign_add"),
    "assign_sub": _assigned("assign_sub"),
    "build": _build,
    "built": _build,
    "exclude_from_weight_decay": _exclude_from_weight_decay,
    "finalize_variable_values": taken,
    "iterations": lambda o: (taken(o), int(o.iterations)),
    "load_own_variables": _own_variables_into,
    "save_own_variables": _own_variables,
    "scale_loss": _scale_loss,
    "set_weights": _set_weights,
    "stateless_apply": _stateless_apply,
    "variables": lambda o: (
        taken(o),
        [np.asarray(v.numpy()).tolist() for v in kept_by_keras(o)],
    ),
}
"""Methods and properties, each used on a plain and on a wrapped optimizer."""

REFUSED = {
    "ema_overwrite_frequency": lambda o: setattr(
        o, "ema_overwrite_frequency", 2
    ),
    "update_step": lambda o: o.update_step(ops.ones(2), new_weight(), 0.1),
}
"""What would undo zeros or leave out the proximal step."""

OWN = ("name", "get_config", "from_config")
"""What the wrapper has itself; other tests show it."""


def _set(optimizer, name):
    setattr(optimizer, name, SETTINGS[name])
    return taken(optimizer)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name(name):
    if name in SETTINGS:
        expected = _set(plain(), name)
        assert expected != taken(plain())
        assert _set(wrapped(), name) == expected
    elif name in ACTIONS:
        assert ACTIONS[name](wrapped()) == ACTIONS[name](plain())
    elif name in REFUSED:
        with pytest.raises((ValueError, NotImplementedError), match=name):
            REFUSED[name](wrapped())
    else:
        assert name in OWN


@pytest.mark.parametrize("name", [n for n in SETTINGS if n != "learning_rate"])
def test_settings_are_read_from_the_inner_optimizer(name):
    optimizer = wrapped()
    setattr(optimizer.inner_optimizer, name, SETTINGS[name])
    assert getattr(optimizer, name) == SETTINGS[name]


@pytest.mark.parametrize(
    "inner",
    [
        optimizers.SGD,
        optimizers.Adam,
        optimizers.AdamW,
        optimizers.Nadam,
        optimizers.Adamax,
        optimizers.RMSprop,
        optimizers.Adagrad,
        optimizers.Adadelta,
    ],
)
def test_settings_of_each_class_are_read_and_set(inner):
    """Such as `momentum`, `beta_1`, `rho` and `epsilon`."""
    optimizer = inner()
    outer = kreg.ProximalOptimizer(optimizer)
    own = set(vars(optimizer)) - set(vars(optimizers.Optimizer(0.1)))
    public = [name for name in own if not name.startswith("_")]
    assert public
    for name in public:
        assert getattr(outer, name) == getattr(optimizer, name)
        setattr(outer, name, 0.75)
        assert getattr(optimizer, name) == 0.75


def test_momentum_that_is_set_counts_in_the_proximal_step():
    """The effective step of SGD is `learning_rate / (1 - momentum)`."""
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_regularizer=kreg.L1(0.5)
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.set_weights([np.array([[1.0], [2.0]])])
    model.compile(kreg.ProximalOptimizer(optimizers.SGD(0.1)), "mse")
    model.optimizer.momentum = 0.5
    kreg.bind(model)
    model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0)
    np.testing.assert_allclose(
        layer.get_weights()[0].ravel(), [0.9, 1.9], rtol=1e-6
    )


def test_a_name_of_neither_optimizer_is_an_error():
    with pytest.raises(AttributeError, match="momentun"):
        wrapped().momentun  # noqa: B018


def of_two(**settings):
    """A `MultiOptimizer` of SGD for `first` and Adam for the rest."""
    return optimizers.MultiOptimizer(
        optimizers.OptimizerMap(
            optimizers.Adam(0.01, name="adam", **settings),
            {".*first.*": optimizers.SGD(0.1, name="sgd", **settings)},
        )
    )


def fitted(optimizer, *callbacks, dtype="float32"):
    """The logs and the weights after a short training."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, name="first", dtype=dtype),
            keras.layers.Dense(1, name="last", dtype=dtype),
        ]
    )
    model.compile(optimizer, "mse", auto_scale_loss=dtype == "mixed_float16")
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    history = model.fit(
        x,
        x[:, :1],
        validation_data=(x, x[:, :1]),
        batch_size=8,
        epochs=2,
        verbose=0,
        callbacks=list(callbacks),
    )
    return history.history, [w.tolist() for w in model.get_weights()]


@pytest.mark.parametrize(
    "inner",
    few_of(
        [optimizers.SGD, optimizers.Adam, optimizers.RMSprop], optimizers.SGD
    ),
)
def test_loss_is_scaled_once(inner):
    """Keras switches the constant scale off when it scales by itself."""

    def trained(wrap):
        optimizer = wrap(inner(0.1, loss_scale_factor=4.0))
        return fitted(optimizers.LossScaleOptimizer(optimizer))

    assert trained(kreg.ProximalOptimizer) == trained(lambda o: o)


def halved(epoch, rate):
    return rate * 0.5


CALLBACKS = {
    "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(
        halved
    ),
    "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau(
        "loss", patience=0, min_delta=1e9
    ),
    "SwapEMAWeights": keras.callbacks.SwapEMAWeights,
}


@pytest.mark.parametrize("name", few_of(CALLBACKS, "ReduceLROnPlateau"))
@pytest.mark.parametrize("several", few_of([True, False], True))
def test_callbacks_that_use_the_optimizer(name, several):
    callback = CALLBACKS[name]

    def make():
        settings = {"use_ema": True, "ema_momentum": 0.5}
        return of_two(**settings) if several else optimizers.Adam(**settings)

    expected = fitted(make(), callback())
    assert fitted(kreg.ProximalOptimizer(make()), callback()) == expected


@pytest.mark.thorough
@pytest.mark.parametrize("several", few_of([False, True], False))
def test_averages_are_swapped_under_loss_scaling(several):
    def make():
        settings = {"use_ema": True, "ema_momentum": 0.5}
        return of_two(**settings) if several else optimizers.Adam(**settings)

    expected = fitted(
        optimizers.LossScaleOptimizer(make()), keras.callbacks.SwapEMAWeights()
    )
    outer = optimizers.LossScaleOptimizer(kreg.ProximalOptimizer(make()))
    assert fitted(outer, keras.callbacks.SwapEMAWeights()) == expected


@pytest.mark.parametrize("several", few_of([False, True], False))
def test_mixed_precision_scales_the_loss_once(several):
    """Keras puts a `LossScaleOptimizer` around by itself."""

    def make():
        if not several:
            return optimizers.SGD(0.1, loss_scale_factor=1024.0)
        optimizer = of_two()
        optimizer.loss_scale_factor = 1024.0
        return optimizer

    expected = fitted(make(), dtype="mixed_float16")
    outer = kreg.ProximalOptimizer(make())
    assert fitted(outer, dtype="mixed_float16") == expected


def test_optimizers_of_several():
    inner = of_two()
    outer = kreg.ProximalOptimizer(inner)
    assert outer.optimizers is inner.optimizers
    outer.loss_scale_factor = 8.0
    assert [o.loss_scale_factor for o in outer.optimizers] == [8.0, 8.0]


@pytest.mark.parametrize(
    "name", [n for n in SETTINGS if n != "loss_scale_factor"]
)
def test_settings_without_an_effect_on_several_are_refused(name):
    outer = kreg.ProximalOptimizer(of_two())
    with pytest.raises(AttributeError, match=r"individual|`optimizer\.optimiz"):
        setattr(outer, name, SETTINGS[name])


def test_exclusion_without_an_effect_on_several_is_refused():
    outer = kreg.ProximalOptimizer(of_two())
    with pytest.raises(AttributeError, match=r"`optimizer\.optimizers`"):
        outer.exclude_from_weight_decay(var_names=["bias"])
