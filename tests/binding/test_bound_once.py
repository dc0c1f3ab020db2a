"""Bound once, a model stays bound: through `compile`, and with new weights."""

import keras
import numpy as np
import pytest
from custom_steps import CustomStep
from keras import layers, ops
from thorough import few_of

import kreg

X, Y = np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32")


def sgd(rate=0.1):
    return keras.optimizers.SGD(rate)


def proximal(rate=0.1):
    return kreg.ProximalOptimizer(sgd(rate))


def dense(units=1, penalty=None, **arguments):
    return layers.Dense(
        units,
        use_bias=False,
        kernel_initializer="ones",
        kernel_regularizer=penalty or kreg.L1(0.1),
        **arguments,
    )


def ramped():
    return kreg.L1(kreg.schedules.LinearRamp(0.0, 1.0, steps=10))


def network(cls=keras.Model, penalty=None):
    inputs = keras.Input((3,))
    return cls(inputs, dense(penalty=penalty)(inputs))


def fit(model, epochs=1):
    history = model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0).history
    return history["penalty"]


def size(model):
    return sum(
        np.abs(ops.convert_to_numpy(v)).sum() for v in model.trainable_weights
    )


def bind_to_own(model, optimizer):
    model.compile(optimizer, "mse")
    kreg.bind(model, model.optimizer)


def bind_then_compile(model, optimizer):
    kreg.bind(model, optimizer)
    model.compile(optimizer, "mse")


def bind_to_another(model, optimizer):
    model.compile(optimizer, "mse")
    kreg.bind(model, sgd())


def bind_part_to_own(model, optimizer):
    model.compile(optimizer, "mse")
    kreg.bind(model, {model.layers[-1]: model.optimizer})


def fit_once(model, optimizer):
    bind_to_own(model, optimizer)
    fit(model)


def bind_to_another_and_plainly(model, optimizer):
    model.compile(optimizer, "mse")
    kreg.bind(model, sgd())
    kreg.bind(model)


WAYS = [
    bind_to_own,
    bind_then_compile,
    bind_to_another,
    bind_part_to_own,
    fit_once,
    bind_to_another_and_plainly,
]
# With a `train_step` of one's own, `bind_to_another` is to be believed.
FOLLOWED = [way for way in WAYS if way is not bind_to_another]
CASES = [(keras.Model, way) for way in WAYS]
CASES += [(CustomStep, way) for way in FOLLOWED]


@pytest.mark.parametrize("second", [sgd, proximal])
@pytest.mark.parametrize("first", few_of([sgd, proximal], proximal))
@pytest.mark.parametrize("case", few_of(CASES, *CASES[1::4]))
def test_penalty_acts_once_after_compile(case, first, second):
    cls, way = case
    model = network(cls)
    way(model, first())
    model.compile(second(), "mse")
    before = model.get_weights()[0]
    # The data has no gradient, so the penalty alone moves the weights.
    penalty = fit(model)
    assert penalty == pytest.approx([0.1 * np.abs(before).sum()], rel=1e-5)
    moved = before - model.get_weights()[0]
    np.testing.assert_allclose(moved, 0.01 * np.ones((3, 1)), rtol=1e-5)


@pytest.mark.parametrize("case", few_of(CASES, *CASES[::4]))
def test_ramp_follows_the_new_optimizer(case):
    cls, way = case
    model = network(cls, penalty=ramped())
    way(model, sgd(0.0))
    model.compile(sgd(0.0), "mse")
    expected = [3 * step / 10 for step in range(5)]
    np.testing.assert_allclose(fit(model, 5), expected, atol=1e-6)
    assert kreg.statistics.read(model).step == 5


@pytest.mark.parametrize("cls", [keras.Model, CustomStep])
def test_readers_follow_compile_before_any_fit(cls):
    model = network(cls, penalty=ramped())
    optimizer = sgd(0.0)
    kreg.bind(model, optimizer)
    model.compile(optimizer, "mse")
    second = sgd(0.0)
    second.iterations.assign(4)
    model.compile(second, "mse")
    assert kreg.statistics.read(model).step == 4
    (penalty,) = kreg.penalties(model).values()
    assert penalty == pytest.approx(1.2)
    assert float(ops.convert_to_numpy(model.losses[0])) == pytest.approx(1.2)


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="a step of JAX sees the optimizer of the model alone",
)
def test_kreg_callback_keeps_what_was_said():
    model = network(CustomStep, penalty=ramped())
    clock = sgd(0.0)
    clock.iterations.assign(5)
    model.compile(sgd(0.0), "mse")
    kreg.bind(model, clock)
    steer = kreg.callbacks.StrengthScheduler(lambda epoch: 1.0)
    history = model.fit(X, Y, verbose=0, callbacks=[steer]).history
    assert history["penalty"] == pytest.approx([1.5])


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (3, "`optimizer` must be a"),
        ("adam", "`optimizer` must be a"),
        ({"encoder": sgd()}, "`optimizer` must be a"),
        ({layers.Dense(1): "sgd"}, "`optimizer` must be a"),
    ],
    ids=["number", "name", "part by name", "optimizer by name"],
)
def test_other_optimizers_are_refused(optimizer, message):
    with pytest.raises(TypeError, match=message):
        kreg.bind(network(), optimizer)


def test_part_of_another_model_is_refused():
    with pytest.raises(ValueError, match="must map layers and models that"):
        kreg.bind(network(), {layers.Dense(1, name="other"): sgd()})


def test_last_part_counts_where_parts_overlap():
    inner = keras.Sequential([keras.Input((3,)), dense(3, ramped())])
    model = keras.Sequential([inner, dense(1, ramped())])
    whole, part = sgd(0.0), sgd(0.0)
    part.iterations.assign(2)
    kreg.bind(model, {model: whole, inner: part})
    steps = [weight.step for weight in kreg.statistics.read(model).weights]
    assert steps == [2, 0]


def new_head(model):
    model.pop()
    model.add(dense())


def low_rank(model):
    model.layers[0].enable_lora(2)


def unfrozen(model):
    model.layers[0].trainable = True


def another_regularizer(model):
    model.layers[0].kernel.regularizer = kreg.L1(0.1)


LATE = [new_head, low_rank, unfrozen, another_regularizer]


@pytest.mark.parametrize("optimizer", [sgd, proximal])
@pytest.mark.parametrize("make_late", few_of(LATE, new_head, low_rank))
def test_late_weights_are_bound(make_late, optimizer):
    model = keras.Sequential([keras.Input((3,)), dense(4), dense()])
    model.layers[0].trainable = make_late is not unfrozen
    model.compile(optimizer(), "mse")
    kreg.bind(model)
    fit(model)
    make_late(model)
    model.compile(optimizer(), "mse")
    expected = 0.1 * size(model)
    assert fit(model) == pytest.approx([expected], rel=1e-5)
    # The penalty acts once: it moves each weight by 0.1 * 0.1.
    before = model.layers[-1].get_weights()[0]
    fit(model)
    moved = before - model.layers[-1].get_weights()[0]
    np.testing.assert_allclose(moved, 0.01 * np.ones_like(moved), rtol=1e-4)


@pytest.mark.parametrize("optimizer", [sgd, proximal])
def test_late_ramp_follows(optimizer):
    model = keras.Sequential([keras.Input((3,)), dense(4), dense()])
    model.compile(optimizer(0.0), "mse")
    kreg.bind(model)
    fit(model)
    model.pop()
    model.add(dense(1, ramped()))
    model.compile(optimizer(0.0), "mse")
    expected = [0.1 * 12 + 4 * step / 10 for step in range(4)]
    np.testing.assert_allclose(fit(model, 4), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "penalty",
    [kreg.GroupLasso(0.1), kreg.SparseGroupLasso(0.1, 0.1)],
    ids=repr,
)
@pytest.mark.parametrize("bound_before", [False, True])
def test_groups_stay_on_a_kernel_with_lora(penalty, bound_before):
    model = keras.Sequential([keras.Input((3,)), dense(4, penalty)])
    (layer,) = model.layers
    kernel = layer.kernel
    if bound_before:
        kreg.bind(model)
    layer.enable_lora(2)
    model.compile(proximal(), "mse")
    with pytest.warns(UserWarning, match=r"lora_kernel_a`.*not act on them"):
        kreg.bind(model)
    assert isinstance(kernel.regularizer, kreg.binding.BoundPenalty)
    assert kreg.penalties(model) == {}
    assert fit(model) == [0.0]
    kernel.trainable = True
    expected = penalty.evaluate(kernel, 0, 1.0, kernel.regularizer.groups)
    (value,) = kreg.penalties(model).values()
    assert value == pytest.approx(float(ops.convert_to_numpy(expected)))


def test_groups_along_axes_act_on_factors_of_lora():
    penalty = kreg.GroupLasso(0.1, groups=(0,))
    model = keras.Sequential([keras.Input((3,)), dense(4, penalty)])
    model.layers[0].enable_lora(2)
    kreg.bind(model)
    factor = ops.convert_to_numpy(model.layers[0].lora_kernel_a)
    # Each group of Keras's `GroupLasso` counts with the root of its size.
    expected = 0.1 * np.sqrt(3) * np.linalg.norm(factor, axis=0).sum()
    first, _ = kreg.penalties(model).values()
    assert first == pytest.approx(expected, rel=1e-5)


def test_model_with_lora_is_read_unbound():
    model = keras.Sequential(
        [keras.Input((3,)), dense(4, kreg.GroupLasso(0.1))]
    )
    model.layers[0].enable_lora(2)
    regularizers = [w.regularizer for w in kreg.statistics.read(model).weights]
    assert regularizers == ["GroupLasso", None, None]


def test_inner_model_is_read_by_the_optimizer_around_it():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3)], name="net")
    kreg.attach(inner, ramped())
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(inner(inputs)))
    model.compile(sgd(0.0), "mse")
    kreg.bind(model)
    fit(model, 4)
    kernel = ops.convert_to_numpy(inner.layers[0].kernel)
    expected = pytest.approx(0.4 * np.abs(kernel).sum(), rel=1e-5)
    reading = kreg.statistics.read(inner)
    assert reading.step == 4
    assert reading.penalty == expected
    assert sum(kreg.penalties(inner).values()) == expected
    assert sum(kreg.penalties(model).values()) == expected
