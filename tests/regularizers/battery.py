"""The checks that every penalty must pass, and its mutations must fail.

Each check takes a function without arguments that makes an instance of a row of
`PENALTY_TABLE` in `instances.py`. The formula in that row is the oracle.
"""

import copy
import inspect
import json
import pickle

import keras
import numpy as np
from instances import expected_penalty
from keras import ops

import kreg

BACKEND = keras.backend.backend()
# JAX computes in float64 only if it is configured to at the start.
DOUBLE = "float32" if BACKEND == "jax" else "float64"
GRID = np.linspace(-4, 4, 801)
POINTS = np.array([[-3.0, -0.2, -0.05, 0.0], [0.01, 0.3, 2.5, 0.9]])
STEPS = [0.1, 1.0, 30.0]


def number(x):
    return float(ops.convert_to_numpy(x))


def weights(shape=(5, 4), dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def gradient(function, w):
    """The gradient of `function` at the array `w`, on any backend."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.constant(w)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x).numpy()
    if BACKEND == "torch":
        import torch

        x = torch.tensor(w, requires_grad=True)
        function(x).backward()
        return x.grad.numpy()
    import jax

    return np.asarray(jax.grad(function)(w))


def strengths_of(penalty):
    return {
        name: number(strength) for name, strength in penalty.strengths().items()
    }


def step_of(penalty, w, effective_step, dtype="float32"):
    """The proximal step as an array; `effective_step` may be one too."""
    w = ops.convert_to_tensor(np.asarray(w, dtype))
    if not np.isscalar(effective_step):
        effective_step = ops.convert_to_tensor(effective_step, dtype)
    stepped = penalty.proximal_step(w, effective_step, strengths_of(penalty))
    return ops.convert_to_numpy(stepped)


def dense(penalty, w, **options):
    """A model of one kernel, `w`, on which `penalty` acts."""
    layer = keras.layers.Dense(
        w.shape[1], use_bias=False, kernel_regularizer=penalty, **options
    )
    model = keras.Sequential([keras.Input((w.shape[0],)), layer])
    layer.kernel.assign(w)
    return model


# The value


def check_value(make):
    """The value is that of the formula, in single and double precision."""
    penalty = make()
    for step in (0, 1, 2, 3, 100):
        with kreg.binding.at_step(step):
            value = penalty(weights())
        expected = expected_penalty(penalty, weights(), step)
        np.testing.assert_allclose(number(value), expected, rtol=1e-6)
    w = weights(dtype=DOUBLE)
    with kreg.binding.at_step(2):
        value = penalty(w)
    assert keras.backend.standardize_dtype(value.dtype) == DOUBLE
    # Schedules are in single precision if floatx is.
    exact = DOUBLE == "float64" and not penalty.is_scheduled
    np.testing.assert_allclose(
        number(value),
        expected_penalty(penalty, w, step=2),
        rtol=1e-12 if exact else 1e-6,
    )


def check_gradient(make):
    """The gradient is the slope of the formula, by differences."""
    penalty, w = make(), weights()
    with kreg.binding.at_step(2):
        slope = gradient(penalty, w)
    np.testing.assert_allclose(
        slope, formula_slope(penalty, w, step=2), rtol=1e-4, atol=1e-5
    )


def formula_slope(penalty, w, step=0):
    h = 1e-5
    moved = h * np.eye(w.size).reshape(-1, *w.shape)
    up, down = (
        expected_penalty(penalty, w + sign * moved, step) for sign in (1, -1)
    )
    return ((up - down) / (2 * h)).reshape(w.shape)


def check_value_of_a_variable(make):
    penalty = make()
    with kreg.binding.at_step(2):
        of_variable = number(penalty(keras.Variable(weights())))
        assert of_variable == number(penalty(weights()))


def check_compiled_value(make):
    """Compiled, with XLA and without, the value is the same as eagerly."""
    penalty, w = make(), weights()
    with kreg.binding.at_step(2):
        outside = number(penalty(w))
        for compiled in compiled_forms(penalty):
            np.testing.assert_allclose(number(compiled(w)), outside, rtol=1e-6)


def compiled_forms(function):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return [tf.function(function, jit_compile=jit) for jit in (False, True)]
    if BACKEND == "jax":
        import jax

        return [jax.jit(function)]
    return []


def check_nan_shows(make):
    w = weights()
    w[0, 1] = np.nan
    with kreg.binding.at_step(1):
        assert np.isnan(number(make()(w)))


def check_strengths(make):
    """A strength is `base(step) * multiplier` for any multiplier."""
    penalty = make()
    penalty.multiplier = 3.0
    for name, strength in penalty.strengths(step=2).items():
        base = getattr(penalty, name)
        if not isinstance(base, float):
            base = number(base(2))
        np.testing.assert_allclose(number(strength), 3.0 * base, rtol=1e-6)


def check_zero(make):
    """A zero weight has a value of 0 and a gradient of 0."""
    penalty, w = make(), np.zeros((3, 4), "float32")
    with kreg.binding.at_step(1):
        assert number(penalty(w)) == 0.0
        np.testing.assert_array_equal(gradient(penalty, w), w)


def check_strength_of_zero(make):
    """With strengths of 0 the value and its gradient are 0.

    In a model that is bound a strength is a tensor, which may come to be 0.
    """
    penalty, w, zero = make(), weights(), ops.zeros(())

    def value(x):
        return penalty.evaluate(x, 0, zero)

    assert number(penalty.evaluate(w, 0, 0.0)) == 0.0
    assert number(value(w)) == 0.0
    np.testing.assert_array_equal(gradient(value, w), np.zeros_like(w))


# The proximal step


def objective(penalty, u, w, t):
    distance = np.sum((u - w) ** 2 / (2 * t), axis=(-2, -1))
    return expected_penalty(penalty, u) + distance


def check_step_against_a_grid(make):
    """No value on a grid is better for any entry, under any step."""
    penalty = make()
    for t in STEPS:
        stepped = step_of(penalty, POINTS, t).astype("float64")
        reached = objective(penalty, stepped, POINTS, t)
        for place in np.ndindex(POINTS.shape):
            others = np.repeat(stepped[None], len(GRID), axis=0)
            others[(slice(None), *place)] = GRID
            best = objective(penalty, others, POINTS, t).min()
            assert reached <= best + 1e-6, (t, place)


def check_step_of_each_entry(make):
    """Each entry has its own step; the steps span up to four decades."""
    penalty, random = make(), np.random.default_rng(0)
    for scale in (0.02, 0.3, 3.0):
        for spread in (0.0, 1.0, 4.0):
            w = scale * random.normal(size=(5, 4))
            decades = random.uniform(-spread / 2, spread / 2, size=w.shape)
            t = 0.4 * 10**decades
            stepped = step_of(penalty, w, t, DOUBLE).astype("float64")
            reached = objective(penalty, stepped, w, t)
            others = np.stack(list(other_points(stepped, w, random)))
            best = objective(penalty, others, w, t).min()
            assert reached <= best + 1e-6 * abs(reached), (scale, spread)


def other_points(stepped, w, random):
    """Points near and far that might be better."""
    yield np.zeros_like(w)
    yield w
    for k in range(w.shape[1]):  # with each group zero, or as before
        for other in (np.zeros_like(w), w):
            point = stepped.copy()
            point[:, k] = other[:, k]
            yield point
    for scale in np.geomspace(1e-6, 3, 14):
        for _ in range(5):
            yield stepped + scale * random.normal(size=w.shape)
            yield stepped * (1 + scale * random.normal(size=w.shape))


def check_step_of_zero_length(make):
    penalty = make()
    for t in (0.0, np.zeros(POINTS.shape)):
        stepped = step_of(penalty, POINTS, t)
        np.testing.assert_allclose(stepped, POINTS, rtol=1e-6)


def check_step_of_zero_strength(make):
    """With strengths of 0 a step of any length changes nothing."""
    penalty = make()
    w = ops.convert_to_tensor(POINTS, "float32")
    for zero in (0.0, ops.zeros(())):
        strengths = dict.fromkeys(penalty.strength_names(), zero)
        for t in (0.0, *STEPS):
            stepped = penalty.proximal_step(w, t, strengths)
            np.testing.assert_allclose(
                ops.convert_to_numpy(stepped), POINTS, rtol=1e-6
            )


def check_zeros_of_a_step(make):
    """Zeros are +0.0, and a zero entry stays zero."""
    penalty = make()
    tiny = np.array([[0.0, 1e-9, -1e-9, 0.01], [-0.01, 0.0, 1e-9, 0.0]])
    for t in (0.0, *STEPS):
        for steps in (t, np.full((2, 4), t)):
            stepped = step_of(penalty, tiny, steps)
            assert not np.signbit(stepped[stepped == 0.0]).any()
            assert not step_of(penalty, np.zeros((2, 4)), steps).any()


def check_symmetry_of_a_step(make):
    penalty = make()
    for t in (0.0, *STEPS):
        np.testing.assert_array_equal(
            step_of(penalty, -POINTS, t), -step_of(penalty, POINTS, t)
        )


def check_equal_steps_are_one_step(make):
    penalty, w = make(), weights((4, 4))
    for t in (0.0, *STEPS):
        np.testing.assert_allclose(
            step_of(penalty, w, np.full((4, 4), t)),
            step_of(penalty, w, t),
            rtol=2e-5,
            atol=1e-7,
        )


def check_gradient_of_a_step(make):
    """The gradient of a proximal step is finite, also at zero."""
    penalty = make()
    w = np.array([[0.0, 0.5, 0.0, 1.0], [0.0, -2.0, 0.0, 0.0]], "float32")
    strengths = strengths_of(penalty)
    for t in (0.1, 1.0):
        for steps in (t, ops.full((2, 4), t)):

            def total(x, steps=steps):
                return ops.sum(penalty.proximal_step(x, steps, strengths))

            assert np.isfinite(gradient(total, w)).all()


def check_dtype_of_a_step(make):
    assert step_of(make(), np.ones((3, 4)), 0.1, DOUBLE).dtype == DOUBLE


def check_longest_step(make):
    """It is -1 over the least second derivative of the formula, by differences.

    The objective of a longer step is not convex.
    """
    penalty = make()
    # Beside the kinks; and close to that at 0, where log(1 + w) bends most.
    points = [(GRID + 0.0005, 1e-3), (np.array([-3e-5, 3e-5]), 2e-5)]
    weak_convexity = -min(
        second_derivatives(penalty, place, entries, h).min()
        for place in np.ndindex(1, 4)
        for entries, h in points
    )
    if weak_convexity < 1e-5:
        assert penalty.longest_step == np.inf
    else:
        np.testing.assert_allclose(
            penalty.longest_step, 1 / weak_convexity, rtol=1e-3
        )


def second_derivatives(penalty, place, entries, h):
    """Those of the formula in one entry, at each of `entries`."""
    w = np.full((len(entries), 1, 4), 0.1)
    moved = np.zeros((1, 4))
    moved[place] = h
    w[(slice(None), *place)] = entries
    up, middle, down = (
        expected_penalty(penalty, w + k * moved) for k in (1, 0, -1)
    )
    return (up - 2 * middle + down) / h**2


def check_optimality(make):
    """`optimality` is 0 at a minimum of the data loss plus the penalty.

    The weights are chosen first. The data loss is then chosen so that they are
    at the minimum.
    """
    penalty = make()
    w = np.array(
        [[0.0, 0.2, -0.5, 0.9], [0.1, 0.0, 0.3, -0.7], [1.5, 0.05, 0.0, 0.4]],
        "float32",
    )
    updates = 2
    slope = -formula_slope(penalty, w, step=updates).astype("float32")
    for inner in (
        keras.optimizers.Adam(1e-12),
        keras.optimizers.SGD(1e-12, momentum=0.9),
    ):
        model = dense(make(), w)
        model.compile(
            kreg.ProximalOptimizer(inner),
            loss=lambda y, outputs: ops.sum(y * outputs),
            run_eagerly=True,
        )
        kreg.bind(model)
        x = np.eye(3, dtype="float32")
        model.fit(x, slope, batch_size=3, epochs=updates, verbose=0)
        (kernel,) = kreg.statistics.read(model).weights
        assert kernel.gradient_norm > 0.1
        assert kernel.optimality < 1e-5 * kernel.gradient_norm


# What is saved


def check_registration(make):
    """A registered class loads without `custom_objects`."""
    cls = type(make())
    name = keras.saving.get_registered_name(cls)
    assert name != cls.__name__
    assert keras.saving.get_registered_object(name) is cls


def arguments(penalty):
    """The constructor's arguments, in a form that `==` can compare."""
    return {
        name: comparable(getattr(penalty, name))
        for name in inspect.signature(type(penalty)).parameters
    }


def comparable(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if callable(value):
        return keras.saving.serialize_keras_object(value)
    return value


def check_config(make):
    penalty = make()
    config = json.loads(json.dumps(penalty.get_config()))
    assert arguments(type(penalty).from_config(config)) == arguments(penalty)


def check_copies(make):
    """Copies are equal, and their multipliers are independent."""
    penalty = make()
    for duplicate in (copy.copy, copy.deepcopy):
        copied = duplicate(penalty)
        assert arguments(copied) == arguments(penalty)
        copied.multiplier = 7.0
        assert penalty.multiplier != 7.0


def check_pickle(make):
    penalty = make()
    revived = pickle.loads(pickle.dumps(penalty))
    assert type(revived) is type(penalty)
    assert arguments(revived) == arguments(penalty)


def check_clone(make):
    model = dense(make(), weights())
    revived = keras.models.clone_model(model)
    assert of_kernel(revived) == of_kernel(model)


def check_keras_file(make, folder):
    model = dense(make(), weights())
    model.save(folder / "model.keras")
    revived = keras.models.load_model(folder / "model.keras", safe_mode=True)
    assert of_kernel(revived) == of_kernel(model)


def of_kernel(model):
    penalty = model.layers[0].kernel_regularizer
    return type(penalty), arguments(penalty)


# In a model


def check_bound_and_compiled(make, jit_compile):
    """`fit` logs the formula, at the step of each batch."""
    w = weights()
    model = dense(make(), w)
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit_compile)
    kreg.bind(model)
    history = model.fit(
        np.zeros((6, 5)), np.zeros((6, 4)), batch_size=2, verbose=0
    )
    penalty = model.layers[0].kernel_regularizer
    expected = [expected_penalty(penalty, w, step) for step in range(3)]
    np.testing.assert_allclose(
        history.history["penalty"], [np.mean(expected)], rtol=1e-5
    )


CHECKS_OF_VALUES = [
    check_value,
    check_gradient,
    check_value_of_a_variable,
    check_compiled_value,
    check_nan_shows,
    check_zero,
    check_strength_of_zero,
    check_strengths,
]
CHECKS_OF_SAVED_FORMS = [
    check_registration,
    check_config,
    check_copies,
    check_pickle,
    check_clone,
]
CHECKS_OF_STEPS = [
    check_step_against_a_grid,
    check_step_of_each_entry,
    check_step_of_zero_length,
    check_step_of_zero_strength,
    check_zeros_of_a_step,
    check_symmetry_of_a_step,
    check_equal_steps_are_one_step,
    check_gradient_of_a_step,
    check_dtype_of_a_step,
    check_longest_step,
    check_optimality,
]
