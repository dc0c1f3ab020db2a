"""Registered optimizers work wherever Keras's own do.

The oracle is Keras's optimizer with the same updates.
"""

import inspect

import keras
import numpy as np
import pytest
from keras import ops
from thorough import few_of

import kreg
from kreg.optimizers.gradient_memory import gradient_memory
from kreg.optimizers.table import KERAS_OPTIMIZERS, row_of


class HeavyBall(keras.optimizers.SGD):
    """SGD with momentum, with an `update_step` of its own."""

    def update_step(self, gradient, variable, learning_rate):
        m = self.momentums[self._get_variable_index(variable)]
        self.assign(m, self.momentum * m - learning_rate * gradient)
        self.assign_add(variable, m)


class Forgetful(HeavyBall):
    """The same, registered without a gradient memory."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)


class NamedMemory(HeavyBall):
    """The same, registered with the class whose memory it keeps."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)


class OwnAverage(keras.optimizers.Optimizer):
    """Momentum whose list has another name and another scale."""

    def __init__(self, learning_rate, momentum, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.averages = [
                self.add_variable_from_reference(v, "average")
                for v in variables
            ]

    def update_step(self, gradient, variable, learning_rate):
        m = self.averages[self._get_variable_index(variable)]
        self.assign(m, self.momentum * m + gradient)
        self.assign_sub(variable, learning_rate * m)


def momentum_step(optimizer, variable, learning_rate):
    return kreg.optimizers.EffectiveStep(
        learning_rate / (1.0 - optimizer.momentum)
    )


def sum_scale(optimizer):
    k = int(ops.convert_to_numpy(optimizer.iterations))
    if not k:
        return None
    return (1.0 - optimizer.momentum) / (1.0 - optimizer.momentum**k)


register = kreg.optimizers.register_optimizer
register(HeavyBall)(momentum_step)
register(NamedMemory, gradient_memory=keras.optimizers.SGD)(momentum_step)
register(Forgetful, gradient_memory=None)(momentum_step)
register(
    OwnAverage,
    gradient_memory=kreg.optimizers.GradientMemory("averages", sum_scale),
)(momentum_step)


def path_with(optimizer_class, **settings):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 4))
    y = 3.0 * x[:, :1] - x[:, 1:2]

    def build_model():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(optimizer_class(0.05, momentum=0.9), "mse")
        return model

    settings = {"epochs": 320, "batch_size": None, **settings}
    return kreg.path(
        build_model,
        (x, y),
        kreg.L1,
        [1.0, 0.5],
        training=kreg.selection.Training(**settings),
        verbose=0,
    ).points


@pytest.mark.thorough
@pytest.mark.parametrize(
    "optimizer_class", few_of([HeavyBall, NamedMemory, OwnAverage], HeavyBall)
)
def test_a_path_converges_as_with_keras_own_optimizer(optimizer_class):
    own, keras_own = path_with(optimizer_class), path_with(keras.optimizers.SGD)
    for point, expected in zip(own, keras_own, strict=True):
        assert point.converged
        assert expected.converged
        assert point.epochs == expected.epochs
        assert point.optimality == pytest.approx(
            expected.optimality, rel=1e-2, abs=1e-6
        )


def test_an_unknown_memory_is_warned_of_once_if_a_path_cannot_converge():
    with pytest.warns(UserWarning, match="Forgetful keeps no") as caught:
        points = path_with(Forgetful, epochs=64)
    warned = [w for w in caught if "Forgetful" in str(w.message)]
    assert len(warned) == 1
    assert [p.optimality for p in points] == [None, None]
    assert not any(p.converged for p in points)


def test_patience_ends_a_training_without_a_memory():
    points = path_with(Forgetful, patience=3)  # where warnings are errors
    assert all(p.converged for p in points)


def test_without_momentum_there_is_no_memory():
    optimizer = HeavyBall(0.1)
    weight = keras.Variable(np.ones(2, "float32"))
    optimizer.build([weight])
    assert gradient_memory(optimizer, weight) is None


@pytest.mark.parametrize("wrong", ["sgd", 3, dict, keras.layers.Dense])
def test_no_class_of_optimizers_is_refused(wrong):
    with pytest.raises(TypeError, match="`optimizer_class` must be"):
        register(wrong)
    with pytest.raises(TypeError, match="`gradient_memory` must be"):
        register(HeavyBall, gradient_memory=wrong)


def test_a_class_without_a_memory_of_its_own_is_refused():
    with pytest.raises(ValueError, match="keeps an average of past"):
        register(HeavyBall, gradient_memory=keras.optimizers.RMSprop)


def keras_optimizers():
    """Every class of optimizers that Keras makes public."""
    for name in dir(keras.optimizers):
        value = getattr(keras.optimizers, name)
        if isinstance(value, type) and issubclass(
            value, keras.optimizers.Optimizer
        ):
            yield value


@pytest.mark.parametrize(
    "optimizer_class",
    [c for c in keras_optimizers() if c is not keras.optimizers.Optimizer],
)
def test_each_optimizer_of_keras_is_supported_or_refused_with_a_reason(
    optimizer_class,
):
    row = row_of(optimizer_class)
    assert bool(row.effective_step) != bool(row.refusal)


GRADIENTS = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")


@pytest.mark.parametrize(
    "optimizer_class",
    [c for c, row in KERAS_OPTIMIZERS.items() if row.gradient_memory],
)
def test_what_is_remembered_is_the_weighted_mean_of_the_gradients(
    optimizer_class,
):
    settings = (
        {"momentum": 0.9} if optimizer_class is keras.optimizers.SGD else {}
    )
    optimizer = optimizer_class(0.01, **settings)
    weight = keras.Variable(np.ones(3, "float32"))
    for gradient in GRADIENTS:
        optimizer.apply([ops.convert_to_tensor(gradient)], [weight])
    memory = row_of(optimizer_class).gradient_memory
    (slot,) = getattr(optimizer, memory.slots)
    decay = 0.9 ** np.arange(len(GRADIENTS))[::-1]
    np.testing.assert_allclose(
        memory.scale(optimizer) * ops.convert_to_numpy(slot),
        decay @ GRADIENTS / decay.sum(),
        rtol=1e-4,
        atol=1e-6,
    )


def moves(optimizer, gradients):
    """How far each gradient in turn moves a weight."""
    weight = keras.Variable(np.ones(1, "float64"))
    places = []
    for gradient in (0.0, *gradients):
        optimizer.apply(
            [ops.convert_to_tensor([gradient], weight.dtype)], [weight]
        )
        places.append(float(ops.convert_to_numpy(weight)[0]))
    return np.diff(places)


@pytest.mark.parametrize(
    "optimizer_class",
    [c for c, row in KERAS_OPTIMIZERS.items() if row.momentum],
)
def test_momentum_is_what_is_left_of_the_update_before(optimizer_class):
    takes_one = "momentum" in inspect.signature(optimizer_class).parameters
    optimizer = optimizer_class(
        0.01, **({"momentum": 0.8} if takes_one else {})
    )
    *_, first, second = moves(optimizer, [1.0] * 60 + [0.0, 0.0])
    momentum = row_of(optimizer_class).momentum(optimizer)
    if momentum == 0.0:
        assert first == 0.0
    else:
        assert second / first == pytest.approx(momentum, rel=0.01)


class Unruled(keras.optimizers.SGD):
    """Registered with a wrong rule."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * gradient)


def test_what_is_registered_must_be_a_function():
    with pytest.raises(TypeError, match="`register_optimizer` decorates"):
        register(Unruled)("adam")


def test_a_rule_that_returns_no_effective_step_is_named():
    register(Unruled)(lambda optimizer, variable, learning_rate: learning_rate)
    layer = keras.layers.Dense(1, kernel_regularizer=kreg.L1(0.1))
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(kreg.ProximalOptimizer(Unruled(0.1)), "mse")
    kreg.bind(model)
    with pytest.raises(TypeError, match=r"optimizer\(Unruled\)` must return"):
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)


@pytest.mark.parametrize(
    ("slots", "scale", "message"),
    [(3, len, "`slots` must be"), ("momentums", 3, "`scale` must be")],
)
def test_gradient_memory_is_checked(slots, scale, message):
    with pytest.raises(TypeError, match=message):
        kreg.optimizers.GradientMemory(slots, scale)
