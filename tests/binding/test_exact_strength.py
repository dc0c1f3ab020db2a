"""The strength is exact at every step, in training and in validation.

The schedule doubles each step, so a sum over steps reveals the steps at which
it was read. The data loss is 0, and the weights do not change.
"""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import ops
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
DOUBLING = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 2.0)
FUNCTION = 3.0  # of the weights: 3 ones, so the same for L1 and L2
EPOCH = 4


def strength(step):
    return 0.5 * 2.0**step


def dense(penalty=None):
    return keras.layers.Dense(
        1,
        kernel_initializer="ones",
        kernel_regularizer=penalty or kreg.L2(DOUBLING),
    )


def model_of(*layers, **compiled):
    model = keras.Sequential([keras.Input((3,)), *(layers or (dense(),))])
    optimizer = compiled.pop("optimizer", None) or keras.optimizers.SGD(0.0)
    model.compile(optimizer, "mse", **compiled)
    return model


def data(samples=2 * EPOCH):
    return np.zeros((samples, 3)), np.zeros((samples, 1))


def fit(model, epochs=2, **arguments):
    x, y = data()
    arguments = {"validation_data": data(4), **arguments}
    return model.fit(
        x, y, batch_size=2, epochs=epochs, verbose=0, **arguments
    ).history


def epoch_mean(first, updates_per_step=1.0):
    steps = first + np.floor(np.arange(EPOCH) * updates_per_step)
    return FUNCTION * np.mean([strength(step) for step in steps])


def assert_exact(history, first=0, updates_per_step=1.0):
    """Compare an epoch's losses with the strengths that they should hold."""
    per_epoch = EPOCH * updates_per_step
    for epoch, (loss, val_loss) in enumerate(
        zip(history["loss"], history["val_loss"], strict=True)
    ):
        begin = first + epoch * per_epoch
        np.testing.assert_allclose(
            loss, epoch_mean(begin, updates_per_step), rtol=1e-6
        )
        np.testing.assert_allclose(
            val_loss, FUNCTION * strength(begin + per_epoch), rtol=1e-6
        )


MODES = {
    "graph": {},
    "jit_compile": {"jit_compile": True},
    "run_eagerly": {"run_eagerly": True},
    "steps_per_execution": {"steps_per_execution": 4},
    "unrolled": {"steps_per_execution": 2},
}
UNSUPPORTED = {"torch": {"steps_per_execution", "unrolled"}}


@pytest.fixture(
    params=few_of(MODES, "graph", "steps_per_execution"),
    name="mode",
)
def _mode(request):
    if request.param in UNSUPPORTED.get(BACKEND, ()):
        pytest.skip(f"Keras has no {request.param} on {BACKEND}")
    return MODES[request.param]


def test_trainer_mode(mode):
    model = model_of(**mode)
    kreg.bind(model)
    assert_exact(fit(model))


def test_bound_by_a_callback(mode):
    model = model_of(**mode)
    callback = kreg.callbacks.StrengthScheduler(lambda epoch, value: value)
    assert_exact(fit(model, callbacks=[callback]))


def test_mode_with_accumulation(mode):
    optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)
    model = model_of(optimizer=optimizer, **mode)
    kreg.bind(model)
    assert_exact(fit(model), updates_per_step=0.5)


def test_bound_before_compile():
    model = keras.Sequential([keras.Input((3,)), dense()])
    kreg.bind(model)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    assert_exact(fit(model))


def test_bound_after_a_first_fit_and_its_trace():
    model = model_of(dense(kreg.L2(0.5)))
    fit(model)
    model.layers[-1].kernel.regularizer = kreg.L2(DOUBLING)
    kreg.bind(model)
    assert_exact(fit(model), first=2 * EPOCH)


def test_model_that_fit_builds():
    model = keras.Sequential([dense()])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    callback = kreg.callbacks.StrengthScheduler(lambda epoch, value: value)
    assert_exact(fit(model, callbacks=[callback]))


def test_model_that_fit_builds_bound_before(mode):
    penalty = kreg.L2(DOUBLING)
    model = keras.Sequential([dense(penalty)])
    model.compile(keras.optimizers.SGD(0.0), "mse", **mode)
    kreg.bind(model)
    history = fit(model)
    assert_exact(history)
    np.testing.assert_allclose(history["penalty"], history["loss"], rtol=1e-6)
    penalty.multiplier = 0.0
    assert fit(model, epochs=1)["loss"] == [0.0]


@pytest.mark.parametrize("wrap", [False, True])
def test_mixed_float16(wrap):
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = keras.optimizers.SGD(0.0)
    if wrap:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = model_of(optimizer=optimizer)
    kreg.bind(model)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert_exact(fit(model))


@pytest.mark.tensorflow
@pytest.mark.parametrize("bind_inside", few_of([False, True], True))
def test_mirrored_strategy(bind_inside, mirrored_strategy):
    assert mirrored_strategy.num_replicas_in_sync == 2
    with mirrored_strategy.scope():
        model = model_of()
        if bind_inside:
            kreg.bind(model)
    kreg.bind(model)
    history = fit(model)
    assert_exact(history)
    np.testing.assert_allclose(history["penalty"], history["loss"], rtol=1e-6)
    np.testing.assert_allclose(history["data_loss"], 0.0, atol=1e-4)


def test_multi_optimizer():
    optimizer = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.0))
    )
    model = model_of(optimizer=optimizer)
    kreg.bind(model)
    assert_exact(fit(model))


def test_train_and_test_on_batch():
    model = model_of()
    kreg.bind(model)
    x, y = data(2)
    for step in range(5):
        loss = model.train_on_batch(x, y)
        np.testing.assert_allclose(loss, FUNCTION * strength(step), rtol=1e-6)
        loss = model.test_on_batch(x, y)
        np.testing.assert_allclose(
            loss, FUNCTION * strength(step + 1), rtol=1e-6
        )


def test_second_fit_continues():
    model = model_of()
    kreg.bind(model)
    fit(model, epochs=1)
    assert_exact(fit(model, epochs=1), first=EPOCH)


def test_recompiled_with_another_optimizer_starts_again():
    model = model_of()
    kreg.bind(model)
    fit(model)
    model.compile(keras.optimizers.Adam(0.0), "mse")
    assert_exact(fit(model))


def test_recompiled_with_another_loss():
    """A step compiled for one loss must not be used for the other."""
    model = model_of()
    kreg.bind(model)
    x, y = data()
    values = {}
    for loss in ("mse", "mae"):
        model.compile(keras.optimizers.SGD(0.0), loss)
        history = model.fit(
            x, y + 2.0, verbose=0, validation_data=(x, y + 2.0)
        ).history
        values[loss] = history["data_loss"] + history["val_data_loss"]
    assert values == {"mse": [4.0, 4.0], "mae": [2.0, 2.0]}


def test_evaluate_alone():
    model = model_of()
    kreg.bind(model)
    fit(model, epochs=1)
    loss = model.evaluate(*data(4), verbose=0)
    np.testing.assert_allclose(loss, FUNCTION * strength(EPOCH), rtol=1e-6)


def test_evaluate_after_iterations_are_set():
    model = model_of()
    kreg.bind(model)
    for step in (3, 5):
        model.optimizer.iterations.assign(step)
        loss = model.evaluate(*data(4), verbose=0)
        np.testing.assert_allclose(loss, FUNCTION * strength(step), rtol=1e-6)


def test_steered_multiplier(mode):
    penalty = kreg.L2(DOUBLING)
    model = model_of(dense(penalty), **mode)
    kreg.bind(model)
    for epoch, multiplier in enumerate((2.0, 0.0, 0.25)):
        penalty.multiplier = multiplier
        history = fit(model, epochs=1)
        np.testing.assert_allclose(
            history["loss"], multiplier * epoch_mean(epoch * EPOCH), rtol=1e-6
        )
        np.testing.assert_allclose(
            history["val_loss"],
            multiplier * FUNCTION * strength((epoch + 1) * EPOCH),
            rtol=1e-6,
        )


def test_steered_multiplier_inside_fit(mode):
    model = model_of(**mode)
    callback = kreg.callbacks.StrengthScheduler(lambda epoch: epoch + 2.0)
    history = fit(model, callbacks=[callback])
    for epoch, multiplier in enumerate((2.0, 3.0)):
        np.testing.assert_allclose(
            history["loss"][epoch], multiplier * epoch_mean(epoch * EPOCH)
        )
        np.testing.assert_allclose(
            history["val_loss"][epoch],
            multiplier * FUNCTION * strength((epoch + 1) * EPOCH),
        )


def test_models_that_share_a_layer_keep_their_own_clocks():
    shared = dense()
    first, second = model_of(shared), model_of(shared)
    kreg.bind(first)
    fit(first, epochs=1)
    kreg.bind(second)
    assert_exact(fit(second, epochs=1))
    first.compile(first.optimizer, "mse")  # traced again after the other bound
    assert_exact(fit(first, epochs=1), first=EPOCH)


def test_unbuilt_shared_penalty_on_two_layers():
    penalty = kreg.L1(DOUBLING)
    hidden = keras.layers.Dense(
        3, kernel_initializer="identity", kernel_regularizer=penalty
    )
    model = model_of(hidden, dense(penalty))
    kreg.bind(model)
    history = fit(model)
    np.testing.assert_allclose(
        history["loss"], [2 * epoch_mean(0), 2 * epoch_mean(EPOCH)]
    )


def test_scheduled_activity_penalty_follows_in_fit(mode):
    layer = keras.layers.Dense(
        1,
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(3.0),
        activity_regularizer=kreg.L1(DOUBLING),
    )
    model = model_of(layer, **mode)
    kreg.bind(model)
    x, y = data()
    history = model.fit(
        x,
        y + 3.0,
        batch_size=2,
        epochs=2,
        verbose=0,
        validation_data=(x[:4], y[:4] + 3.0),
        validation_batch_size=2,
    ).history
    assert_exact(history)


class Penalized(keras.layers.Layer):
    """Adds a penalty on its input with `add_loss`."""

    def __init__(self):
        super().__init__()
        self.penalty = kreg.L1(DOUBLING)

    def call(self, x):
        self.add_loss(self.penalty(ops.ones((3,))))
        return x


def test_scheduled_add_loss_follows_in_fit(mode):
    model = model_of(Penalized(), keras.layers.Dense(1), **mode)
    kreg.bind(model)
    assert_exact(fit(model))


class Counting(keras.layers.Layer):
    """Counts how often it is called in Python: once a trace, if compiled."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x


def traces(mode, penalty, *callbacks):
    """How often the train step is traced in two fits."""
    counter = Counting()
    model = model_of(counter, dense(penalty), **MODES[mode])
    x, y = data()
    counter.calls = 0
    for _ in range(2):
        model.fit(x, y, batch_size=2, epochs=3, verbose=0, callbacks=callbacks)
        if isinstance(penalty, kreg.L2):
            penalty.multiplier = 0.5
    return counter.calls


@pytest.mark.skipif(BACKEND == "torch", reason="torch runs eagerly")
@pytest.mark.parametrize(
    "mode",
    few_of(["graph", "jit_compile", "steps_per_execution"], "jit_compile"),
)
def test_train_step_is_traced_once(mode):
    plain = traces(mode, keras.regularizers.L2(0.5))
    # Keras itself traces twice on JAX: the iterations are weakly typed first.
    assert plain == {"tensorflow": 1, "jax": 2}[BACKEND]
    steer = kreg.callbacks.StrengthScheduler(lambda epoch: epoch + 1.0)
    assert traces(mode, kreg.L2(DOUBLING), steer) == plain


SAVE = """
    import keras, kreg, numpy as np
    penalty = kreg.L2(keras.optimizers.schedules.ExponentialDecay(0.5, 1, 2.0))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(
        1, kernel_initializer="ones", kernel_regularizer=penalty)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(model)
    x, y = np.zeros((8, 3)), np.zeros((8, 1))
    model.fit(x, y, batch_size=2, epochs=1, verbose=0)
    penalty.multiplier = 2.0
    model.save({path!r})
"""


@pytest.mark.slow
def test_saved_loaded_in_another_process_and_continued(tmp_path):
    path = str(tmp_path / "model.keras")
    code = textwrap.dedent(SAVE).format(path=path)
    subprocess.run([sys.executable, "-c", code], check=True)
    model = keras.models.load_model(path)
    kreg.bind(model)
    history = fit(model, epochs=1)
    history = {k: [v / 2.0 for v in values] for k, values in history.items()}
    assert_exact(history, first=EPOCH)
