"""A penalty acts exactly once, by whichever route a model is trained.

Every route takes the same batches, so its weights are those that a few lines of
NumPy compute; or its first step raises, and no weight has changed.
"""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
from custom_steps import CustomStep, OwnLoss
from keras import ops
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
RATE, EPOCHS, BATCH = 0.1, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 3)).astype("float32")
Y = X @ np.array([[1.0], [0.0], [-0.5]], "float32")
RAMP = kreg.schedules.LinearRamp(0.1, 0.4, steps=6)
START = np.array([[0.5], [-0.05], [0.3]], "float32")


def expected(strength, epochs=EPOCHS, first=0, w=START, accumulate=1):
    """Proximal gradient descent of the mean squared error."""
    w = w.astype("float64")
    updates, gradients = first, []
    for _ in range(epochs):
        for i in range(0, len(X), BATCH):
            x, y = X[i : i + BATCH], Y[i : i + BATCH]
            gradients.append(2 * x.T @ (x @ w - y) / len(x))
            if len(gradients) < accumulate:
                continue
            w = w - RATE * np.mean(gradients, axis=0)
            threshold = RATE * strength(updates)
            w = np.sign(w) * np.maximum(np.abs(w) - threshold, 0)
            updates, gradients = updates + 1, []
    return w


def expected_from_gradient(strength, epochs=EPOCHS, w=START):
    """Gradient descent of the mean squared error plus the penalty."""
    w = w.astype("float64")
    updates = 0
    for _ in range(epochs):
        for i in range(0, len(X), BATCH):
            x, y = X[i : i + BATCH], Y[i : i + BATCH]
            gradient = 2 * x.T @ (x @ w - y) / len(x)
            w = w - RATE * (gradient + strength(updates) * np.sign(w))
            updates += 1
    return w


def constant(step):
    return 0.6


def ramp(step):
    return 0.1 + 0.3 * min(step / 6, 1)


def network(penalty=None, cls=keras.Sequential):
    inputs = keras.Input((3,))
    layer = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=keras.initializers.Constant(START),
        kernel_regularizer=penalty or kreg.L1(RAMP),
    )
    if cls is keras.Sequential:
        return keras.Sequential([inputs, layer])
    return cls(inputs, layer(inputs))


def plain(**arguments):
    return keras.optimizers.SGD(RATE, **arguments)


def sgd(**arguments):
    return kreg.ProximalOptimizer(plain(**arguments))


def fit(model, epochs=EPOCHS, **arguments):
    return model.fit(
        X,
        Y,
        batch_size=BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        **arguments,
    )


def assert_weights(model, wanted):
    np.testing.assert_allclose(model.get_weights()[0], wanted, atol=2e-6)
    assert (wanted == 0).any()  # or the test would show little
    np.testing.assert_array_equal(model.get_weights()[0] == 0, wanted == 0)


def first_batch(model):
    model.train_on_batch(X[:BATCH], Y[:BATCH])


def assert_refused(model):
    """The first step of an unbound model raises, and no weight has changed.

    On JAX the step is `train_on_batch`: a `fit` that raises loses all weights
    there, because Keras takes them out of the model during training.
    """
    train = first_batch if BACKEND == "jax" else fit
    before = model.get_weights()[0]
    with pytest.raises(ValueError, match=r"[Cc]all `kreg\.bind\(model\)`"):
        train(model)
    np.testing.assert_array_equal(model.get_weights()[0], before)


MODES = {
    "graph": {},
    "jit_compile": {"jit_compile": True},
    "run_eagerly": {"run_eagerly": True},
    "steps_per_execution": {"steps_per_execution": 4},
}
UNSUPPORTED = {"torch": {"steps_per_execution"}}


@pytest.fixture(params=few_of(MODES, "graph", "jit_compile"), name="mode")
def _mode(request):
    if request.param in UNSUPPORTED.get(BACKEND, ()):
        pytest.skip(f"Keras has no {request.param} on {BACKEND}")
    return MODES[request.param]


def steer():
    return kreg.callbacks.StrengthScheduler(lambda epoch: 1.0)


def test_bound(mode):
    model = network()
    model.compile(sgd(), "mse", **mode)
    kreg.bind(model)
    fit(model)
    assert_weights(model, expected(ramp))


def test_kreg_callback(mode):
    model = network()
    model.compile(sgd(), "mse", **mode)
    fit(model, callbacks=[steer()])
    assert_weights(model, expected(ramp))


def test_second_fit():
    model = network()
    model.compile(sgd(), "mse")
    kreg.bind(model)
    fit(model, epochs=1)
    fit(model, epochs=2)
    assert_weights(model, expected(ramp))


def test_not_bound_is_refused(mode):
    model = network(kreg.L1(0.6))
    model.compile(sgd(), "mse", **mode)
    assert_refused(model)
    kreg.bind(model)
    fit(model)
    assert_weights(model, expected(constant))


def test_fit_not_bound_raises(mode):
    model = network(kreg.L1(0.6))
    model.compile(sgd(), "mse", **mode)
    with pytest.raises(ValueError, match=r"not bound.*kreg\.bind\(model\)"):
        fit(model)


def test_optimizer_built_before_the_trace_binds_nothing():
    model = network(kreg.L1(0.6))
    model.compile(sgd(), "mse")
    model.optimizer.build(model.trainable_variables)
    assert_refused(model)
    kreg.bind(model)
    fit(model)
    assert_weights(model, expected(constant))


WRAPPED = {
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(sgd()),
    "accumulation": lambda: sgd(gradient_accumulation_steps=2),
    "average": lambda: sgd(use_ema=True),
    "several_inside": lambda: kreg.ProximalOptimizer(
        keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(plain()))
    ),
    "several_outside": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(sgd())
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_not_bound_is_refused_however_wrapped(name):
    model = network(kreg.L1(0.6))
    model.compile(WRAPPED[name](), "mse")
    assert_refused(model)


OPTIMIZERS = {"plain": plain, "proximal": sgd}
ORACLES = {"plain": expected_from_gradient, "proximal": expected}
RECOMPILED = [
    ("proximal", "plain"),
    ("plain", "proximal"),
    ("proximal", "proximal"),
]


@pytest.mark.parametrize("kinds", RECOMPILED, ids="_then_".join)
def test_recompiled(kinds):
    """A new optimizer counts from 0, and so does the schedule."""
    model, wanted = network(), START
    kreg.bind(model)
    for kind in kinds:
        model.compile(OPTIMIZERS[kind](), "mse")
        fit(model)
        wanted = ORACLES[kind](ramp, w=wanted)
        np.testing.assert_allclose(model.get_weights()[0], wanted, atol=2e-6)


@pytest.mark.parametrize("kinds", RECOMPILED, ids="_then_".join)
def test_recompiled_not_bound(kinds):
    """A refused step changes nothing, and a plain optimizer then trains."""
    model, wanted = network(kreg.L1(0.6)), START
    for kind in kinds:
        model.compile(OPTIMIZERS[kind](), "mse")
        if kind == "proximal":
            assert_refused(model)
            continue
        fit(model)
        wanted = expected_from_gradient(constant, w=wanted)
        np.testing.assert_allclose(model.get_weights()[0], wanted, atol=2e-6)
    kreg.bind(model)
    fit(model)
    wanted = ORACLES[kinds[-1]](constant, w=wanted)
    np.testing.assert_allclose(model.get_weights()[0], wanted, atol=2e-6)


def test_loaded_model_continues(tmp_path):
    model = network()
    model.compile(sgd(), "mse")
    kreg.bind(model)
    fit(model, epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, kreg.ProximalOptimizer)
    kreg.bind(loaded)
    fit(loaded, epochs=2)
    assert_weights(loaded, expected(ramp))


@pytest.mark.thorough
def test_accumulation(mode):
    model = network()
    model.compile(sgd(gradient_accumulation_steps=2), "mse", **mode)
    kreg.bind(model)
    fit(model, epochs=6)
    assert_weights(model, expected(ramp, epochs=6, accumulate=2))


@pytest.mark.thorough
def test_accumulation_with_adam_stays_finite():
    model = network()
    adam = keras.optimizers.Adam(RATE, gradient_accumulation_steps=2)
    model.compile(kreg.ProximalOptimizer(adam), "mse")
    kreg.bind(model)
    fit(model)
    assert np.isfinite(model.get_weights()[0]).all()


def test_train_on_batch():
    model = network()
    model.compile(sgd(), "mse")
    kreg.bind(model)
    for _ in range(EPOCHS):
        for i in range(0, len(X), BATCH):
            model.train_on_batch(X[i : i + BATCH], Y[i : i + BATCH])
    assert_weights(model, expected(ramp))


def test_loss_scaled_from_outside():
    model = network()
    scaled = keras.optimizers.LossScaleOptimizer(sgd(), initial_scale=8.0)
    model.compile(scaled, "mse")
    kreg.bind(model)
    fit(model)
    assert_weights(model, expected(ramp))


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_mirrored_strategy(mirrored_strategy):
    with mirrored_strategy.scope():
        model = network(kreg.L1(0.6))
        model.compile(sgd(), "mse")
    assert_refused(model)
    kreg.bind(model)
    fit(model)
    assert_weights(model, expected(constant))


@pytest.mark.tensorflow
@pytest.mark.parametrize("compiled", [None, False, True])
@pytest.mark.parametrize("bound", [True, False])
def test_gradient_tape_loop(bound, compiled):
    import tensorflow as tf

    model, optimizer = network(), sgd()
    if bound:
        kreg.bind(model, optimizer)

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = ops.mean((model(x, training=True) - y) ** 2)
            loss += sum(model.losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)

    if compiled is not None:
        step = tf.function(step, jit_compile=compiled)
    if not bound:
        with (
            pytest.raises(ValueError, match=r"kreg\.bind\(model, optimizer\)"),
            pytest.warns(UserWarning, match="not bound"),
        ):
            step(X[:BATCH], Y[:BATCH])
        np.testing.assert_array_equal(model.get_weights()[0], START)
        return
    for _ in range(EPOCHS):
        for i in range(0, len(X), BATCH):
            step(X[i : i + BATCH], Y[i : i + BATCH])
    assert_weights(model, expected(ramp))


@pytest.mark.skipif(BACKEND != "torch", reason="a torch loop")
@pytest.mark.parametrize("bound", [True, False])
def test_torch_loop(bound):
    import torch

    model, optimizer = network(None if bound else kreg.L1(0.6)), sgd()
    if bound:
        kreg.bind(model, optimizer)
    weights = model.trainable_weights
    optimizer.build(weights)

    def step(x, y):
        model.zero_grad()
        loss = ops.mean((model(x) - ops.convert_to_tensor(y)) ** 2)
        (loss + sum(model.losses)).backward()
        gradients = [v.value.grad for v in weights]
        with torch.no_grad():
            optimizer.apply(gradients, weights)

    if not bound:
        with pytest.raises(ValueError, match=r"kreg\.bind\(model, optimizer\)"):
            step(X[:BATCH], Y[:BATCH])
        np.testing.assert_array_equal(model.get_weights()[0], START)
        return
    for _ in range(EPOCHS):
        for i in range(0, len(X), BATCH):
            step(X[i : i + BATCH], Y[i : i + BATCH])
    assert_weights(model, expected(ramp))


@pytest.mark.skipif(BACKEND != "jax", reason="a JAX loop")
@pytest.mark.parametrize("at_step", [True, False])
@pytest.mark.parametrize("bound", [True, False])
def test_jax_loop(bound, at_step):
    import jax

    penalty = None if at_step else kreg.L1(0.6)
    model, optimizer = network(penalty), sgd()
    if bound:
        kreg.bind(model, optimizer)
    optimizer.build(model.trainable_variables)
    tv = [v.value for v in model.trainable_variables]
    ntv = [v.value for v in model.non_trainable_variables]
    ov = [v.value for v in optimizer.variables]

    def loss_of(tv, x, y):
        y_pred, _, losses = model.stateless_call(tv, ntv, x, return_losses=True)
        return ops.mean((y_pred - y) ** 2) + sum(losses)

    @jax.jit
    def step(tv, ov, x, y):
        if at_step:
            with kreg.binding.at_step(ov[0]):
                gradients = jax.grad(loss_of)(tv, x, y)
        else:
            gradients = jax.grad(loss_of)(tv, x, y)
        return optimizer.stateless_apply(ov, gradients, tv)

    if not bound:
        with pytest.raises(ValueError, match=r"kreg\.bind\(model, optimizer\)"):
            step(tv, ov, X[:BATCH], Y[:BATCH])
        np.testing.assert_array_equal(model.get_weights()[0], START)
        return
    for _ in range(EPOCHS):
        for i in range(0, len(X), BATCH):
            tv, ov = step(tv, ov, X[i : i + BATCH], Y[i : i + BATCH])
    model.set_weights(tv)
    assert_weights(model, expected(ramp if at_step else constant))


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("cls", [CustomStep, OwnLoss])
def test_overridden_train_step(cls, eagerly):
    model = network(cls=cls)
    model.compile(sgd(), "mse", run_eagerly=eagerly)
    kreg.bind(model)
    fit(model)
    assert_weights(model, expected(ramp))


@pytest.mark.parametrize("cls", [CustomStep, OwnLoss])
def test_overridden_train_step_not_bound(cls):
    model = network(kreg.L1(0.6), cls=cls)
    model.compile(sgd(), "mse")
    if BACKEND == "jax":  # where these steps take no single batch
        with pytest.raises(ValueError, match=r"[Cc]all `kreg\.bind\(model\)`"):
            fit(model)
        return
    assert_refused(model)
    kreg.bind(model)
    fit(model)
    assert_weights(model, expected(constant))


@pytest.mark.parametrize("mode", ["graph", "run_eagerly"], indirect=True)
def test_mixed_precision(mode):
    """Keras wraps a `LossScaleOptimizer` around the optimizer by itself."""
    keras.config.set_dtype_policy("mixed_float16")
    model = network(kreg.L1(0.6))
    model.compile(sgd(), "mse", **mode)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    kreg.bind(model)
    fit(model)
    wanted = expected(constant)
    np.testing.assert_allclose(model.get_weights()[0], wanted, atol=2e-3)
    np.testing.assert_array_equal(model.get_weights()[0] == 0, wanted == 0)


@pytest.mark.thorough
def test_state_saved_in_mid_epoch_goes_on_exactly(tmp_path):
    """A custom loop stops after some batches and goes on in a loaded model."""
    batches = [(X[i : i + BATCH], Y[i : i + BATCH]) for i in range(0, 16, 4)]
    whole, parts = [], []
    for trained, stops in ((whole, ()), (parts, (1, 6, 9))):
        model = network()
        inner = keras.optimizers.Adam(RATE)
        model.compile(kreg.ProximalOptimizer(inner), "mse")
        kreg.bind(model)
        for step in range(12):
            if step in stops:
                model.save(tmp_path / "model.keras")
                model = keras.models.load_model(tmp_path / "model.keras")
                kreg.bind(model)
            model.train_on_batch(*batches[step % 4])
        trained.append(model.get_weights()[0])
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_two_replicas_of_a_group_penalty_under_adam(mirrored_strategy):
    """Every replica takes the same step, with its own optimizer state."""
    trained = []
    for scope in (nullcontext(), mirrored_strategy.scope()):
        with scope:
            model = network(kreg.GroupLasso(0.6, "inputs"))
            adam = keras.optimizers.Adam(RATE)
            model.compile(kreg.ProximalOptimizer(adam), "mse")
        kreg.bind(model)
        fit(model)
        trained.append(model.get_weights()[0])
    np.testing.assert_allclose(*trained, atol=1e-6)
    assert (trained[0] == 0).any()


@pytest.mark.parametrize(
    "penalty", [kreg.L1(0.6), kreg.GroupLasso(0.6, "inputs")], ids=repr
)
@pytest.mark.parametrize("way", ["loaded", "cloned"])
def test_loaded_or_cloned_model_is_refused_until_bound(way, penalty, tmp_path):
    model = network(penalty)
    model.compile(sgd(), "mse")
    kreg.bind(model)
    fit(model, epochs=1)
    if way == "loaded":
        model.save(tmp_path / "model.keras")
        other = keras.models.load_model(tmp_path / "model.keras")
    else:
        other = keras.models.clone_model(model)
        other.compile(sgd(), "mse")
        other.set_weights(model.get_weights())
    assert_refused(other)
    kreg.bind(other)
    fit(other, epochs=2)
    assert_weights(other, expected(constant))  # one output: groups of one


@pytest.mark.slow
@pytest.mark.tensorflow
def test_groups_that_need_their_layer_under_a_strategy(mirrored_strategy):
    with mirrored_strategy.scope():
        model = network(kreg.GroupLasso(0.6, "inputs"))
        model.compile(sgd(), "mse")
    fit(model, callbacks=[steer()])
    assert_weights(model, expected(constant))


@pytest.mark.thorough
def test_bound_to_another_optimizer_follows_the_one_it_is_compiled_with():
    model, plain = network(kreg.L1(0.6)), network(kreg.L1(0.6))
    kreg.bind(model, keras.optimizers.SGD(RATE))
    kreg.bind(plain)
    for each in (model, plain):
        each.compile(sgd(), "mse")
        fit(each)
    trained, expected = model.get_weights()[0], plain.get_weights()[0]
    assert not np.array_equal(expected, START)
    np.testing.assert_array_equal(trained, expected)


def test_an_exception_in_mid_step_leaves_nothing_behind():
    broken = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, kernel_regularizer=kreg.L1())]
    )
    broken.compile(sgd(), "mse")
    kreg.bind(broken)
    broken.compute_metrics = None  # fails after the penalties were evaluated
    with pytest.raises(TypeError):
        fit(broken)
    model = network()
    model.compile(sgd(), "mse")
    kreg.bind(model)
    fit(model)
    assert_weights(model, expected(ramp))


def test_other_regularizers_stay_in_the_gradient():
    trained = []
    for optimizer in (sgd(), keras.optimizers.SGD(RATE)):
        model = network(keras.regularizers.L2(0.1))
        model.compile(optimizer, "mse")
        kreg.bind(model)
        fit(model)
        trained.append(model.get_weights()[0])
    np.testing.assert_allclose(*trained, rtol=1e-6)


def test_activity_penalties_stay_in_the_gradient():
    trained = []
    for optimizer in (sgd(), keras.optimizers.SGD(RATE)):
        layer = keras.layers.Dense(
            1, kernel_initializer="ones", activity_regularizer=kreg.L2(0.5)
        )
        model = keras.Sequential([keras.Input((3,)), layer])
        model.compile(optimizer, "mse")
        kreg.bind(model)
        fit(model)
        trained.append(model.get_weights()[0])
    np.testing.assert_allclose(*trained, rtol=1e-6)


def test_loss_reports_the_penalty():
    model = network(kreg.L1(0.6))
    model.compile(kreg.ProximalOptimizer(keras.optimizers.SGD(0.0)), "mse")
    kreg.bind(model)
    history = fit(model, epochs=1).history
    np.testing.assert_allclose(
        history["penalty"], [0.6 * np.abs(START).sum()], rtol=1e-6
    )
    np.testing.assert_allclose(
        history["loss"][0], history["data_loss"][0] + history["penalty"][0]
    )


WITHOUT_GRADIENT = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "clipnorm": {"momentum": 0.9, "clipnorm": 1.0},
    "clipvalue": {"momentum": 0.9, "clipvalue": 1.0},
    "global_clipnorm": {"momentum": 0.9, "global_clipnorm": 1.0},
    "weight_decay": {"momentum": 0.9, "weight_decay": 0.0},
}


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.filterwarnings("ignore:.*The object could not be updated")
@pytest.mark.parametrize("name", few_of(WITHOUT_GRADIENT, "sgd", "nesterov"))
def test_a_weight_that_no_loss_reads_shrinks_by_effective_steps(name):
    arguments = WITHOUT_GRADIENT[name]
    x = keras.Input((3,))
    read, other = (keras.layers.Dense(1, name=n) for n in ("read", "other"))
    model = keras.Model(x, {"read": read(x), "other": other(x)})
    other.set_weights([START, np.zeros(1)])
    kreg.attach(model, {"other": kreg.L1(0.1)})
    optimizer = keras.optimizers.SGD(RATE, **arguments)
    model.compile(
        kreg.ProximalOptimizer(optimizer), {"read": "mse", "other": None}
    )
    model.fit(X, {"read": Y}, batch_size=len(X), epochs=2, verbose=0)
    step = RATE / (1.0 - arguments.get("momentum", 0.0))
    shrunk = np.sign(START) * np.maximum(np.abs(START) - 2 * step * 0.1, 0.0)
    np.testing.assert_allclose(other.get_weights()[0], shrunk, atol=1e-6)
