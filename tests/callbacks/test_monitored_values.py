"""What the monitor logs is what NumPy finds in the weights at that step."""

import keras
import numpy as np
import pytest
from event_files import events
from keras import layers, ops
from thorough import few_of

import kreg

RNG = np.random.default_rng(0)
THRESHOLD = 0.02


def monitor_of(log_dir, update_freq="epoch", **settings):
    """Without the linter, which has tests of its own."""
    settings = {"check": False, **settings}
    return kreg.RegularizationMonitor(log_dir, update_freq, **settings)


class Recorder(keras.callbacks.Callback):
    """Keeps the weights of every step, before and after it."""

    def __init__(self):
        super().__init__()
        self.after = {}

    def now(self):
        return int(ops.convert_to_numpy(self.model.optimizer.iterations)), {
            v.path.removeprefix(f"{self.model.name}/"): (
                ops.convert_to_numpy(ops.cast(v, "float32")).astype("float64")
            )
            for v in self.model.trainable_weights
        }

    def on_train_begin(self, logs=None):
        step, weights = self.now()
        self.after[step] = weights

    def on_train_batch_end(self, batch, logs=None):
        step, weights = self.now()
        self.after[step] = weights


def dense():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu", kernel_regularizer=ramped()),
            layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.01)),
        ]
    )
    return model, RNG.normal(size=(40, 6)), RNG.normal(size=(40, 1))


def ramped():
    return kreg.L1(kreg.schedules.LinearRamp(0.0, 0.01, steps=8))


def convolutional():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, kernel_regularizer=kreg.GroupLasso(0.02)),
            layers.BatchNormalization(gamma_regularizer=kreg.L1(0.01)),
            layers.DepthwiseConv2D(2, depthwise_regularizer=ramped()),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1),
        ]
    )
    return model, RNG.normal(size=(40, 6, 6, 2)), RNG.normal(size=(40, 1))


def recurrent():
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.LSTM(3, kernel_regularizer=ramped()),
            layers.Dense(1),
        ]
    )
    return model, RNG.normal(size=(40, 4, 3)), RNG.normal(size=(40, 1))


def embedding():
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layers.Embedding(20, 4, embeddings_regularizer=ramped()),
            layers.Flatten(),
            layers.Dense(1, kernel_regularizer=kreg.L1L2(0.01, 0.01)),
        ]
    )
    return model, RNG.integers(0, 9, size=(40, 3)), RNG.normal(size=(40, 1))


MODELS = few_of([dense, convolutional, recurrent, embedding], dense, recurrent)


def monitored(folder, build, optimizer=None, **settings):
    """The event file and the recorded weights of a real fit, 2 x 5 steps."""
    model, x, y = build()
    model.compile(optimizer or kreg.ProximalOptimizer("adam"), "mse")
    recorder = Recorder()
    monitor = monitor_of(folder, threshold=THRESHOLD, **settings)
    history = model.fit(
        x,
        y,
        batch_size=8,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[recorder, monitor],
    ).history
    return events(folder / "train"), recorder.after, history, model


def norms(w):
    return {
        "sparsity": np.mean(w == 0.0),
        "near_zero": np.mean(np.abs(w) <= THRESHOLD),
        "l1_norm": np.abs(w).sum(),
        "l2_norm": np.linalg.norm(w),
        "rms": np.sqrt(np.mean(w**2)),
        "max_norm": np.abs(w).max(),
    }


def check_weights(found, after, steps):
    """Every weight's figures, at every one of `steps`."""
    for path in next(iter(after.values())):
        for figure in norms(np.zeros(1)):
            series = found[f"kreg_{figure}/{path}"]
            assert [step for step, _ in series] == steps
            for step, value in series:
                expected = norms(after[step][path])[figure]
                assert value == pytest.approx(expected, rel=2e-5, abs=1e-9)


def check_totals(found, after, steps):
    for figure in norms(np.zeros(1)):
        if figure == "rms":
            continue
        series = found[f"kreg/{figure}"]
        assert [step for step, _ in series] == steps
        for step, value in series:
            w = np.concatenate([w.ravel() for w in after[step].values()])
            expected = norms(w)[figure]
            assert value == pytest.approx(expected, rel=2e-5, abs=1e-9)


@pytest.mark.parametrize("build", MODELS)
def test_weights_at_the_end_of_epochs(build, tmp_path):
    found, after, *_ = monitored(tmp_path, build)
    check_weights(found, after, [0, 5, 10])
    check_totals(found, after, [0, 5, 10])


@pytest.mark.thorough
@pytest.mark.parametrize("build", MODELS)
def test_weights_every_few_steps(build, tmp_path):
    found, after, *_ = monitored(tmp_path, build, update_freq=2)
    check_weights(found, after, [0, 2, 4, 5, 6, 8, 10])
    check_totals(found, after, [0, 2, 4, 5, 6, 8, 10])


@pytest.mark.thorough
@pytest.mark.parametrize("build", MODELS)
def test_update_ratio_is_that_of_the_last_step(build, tmp_path):
    found, after, *_ = monitored(tmp_path, build, update_freq=2)
    for path in after[0]:
        series = dict(found[f"kreg_update_ratio/{path}"])
        assert list(series) == [2, 4, 5, 6, 8, 10]
        for step, value in series.items():
            moved = after[step][path] - after[step - 1][path]
            length = np.linalg.norm(after[step][path])
            if length:
                expected = np.linalg.norm(moved) / length
                assert value == pytest.approx(expected, rel=1e-3, abs=1e-7)


class LastUpdates(keras.callbacks.Callback):
    """Keeps each update of the first kernel, by the number of updates."""

    def __init__(self):
        super().__init__()
        self.ratios = {}

    def on_train_begin(self, logs=None):
        self.kernel = self.model.get_weights()[0]

    def on_train_batch_end(self, batch, logs=None):
        before, self.kernel = self.kernel, self.model.get_weights()[0]
        if (before != self.kernel).any():
            step = int(ops.convert_to_numpy(self.model.optimizer.iterations))
            moved = np.linalg.norm(self.kernel - before)
            self.ratios[step] = moved / np.linalg.norm(self.kernel)


@pytest.mark.parametrize("scaled", few_of([False, True], True))
@pytest.mark.parametrize("update_freq", few_of(["epoch", 1, 3], "epoch"))
@pytest.mark.parametrize("accumulation", few_of([2, 4, 7], 4))
def test_update_ratio_while_gradients_are_accumulated(
    accumulation, update_freq, scaled, tmp_path
):
    model, x, y = dense()
    optimizer = kreg.ProximalOptimizer(
        keras.optimizers.Adam(0.01, gradient_accumulation_steps=accumulation)
    )
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    last = LastUpdates()
    for _ in range(2):
        # A fit may begin in the middle of an update.
        monitor = monitor_of(tmp_path, update_freq)
        callbacks = [last, monitor]
        model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=callbacks)
    path = model.layers[0].kernel.path.removeprefix(f"{model.name}/")
    series = events(tmp_path / "train")[f"kreg_update_ratio/{path}"]
    # A fit has 15 batches, 5 in an epoch.
    every = 5 if update_freq == "epoch" else update_freq
    read = [n for n in range(1, 16) if n % 5 == 0 or n % every == 0]
    steps = {n // accumulation for n in (*read, *(n + 15 for n in read))}
    assert {step for step, _ in series} == steps - {0}
    for step, value in series:
        assert value == pytest.approx(last.ratios[step], rel=1e-3)


def test_layer_is_its_weights_together(tmp_path):
    found, after, *_ = monitored(tmp_path, dense)
    layer = next(iter(after[0])).split("/")[0]
    for step, value in found[f"kreg_layer_l2_norm/{layer}"]:
        own = [
            w.ravel()
            for path, w in after[step].items()
            if path.startswith(f"{layer}/")
        ]
        expected = np.linalg.norm(np.concatenate(own))
        assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.thorough
def test_strength_and_penalty_of_a_schedule(tmp_path):
    found, after, *_ = monitored(tmp_path, dense, update_freq=1)
    (path, *_) = after[0]
    strengths = dict(found[f"kreg_strength/{path}"])
    penalties = dict(found[f"kreg_penalty/{path}"])
    for step in range(11):
        strength = 0.01 * min(step / 8, 1.0)
        assert strengths[step] == pytest.approx(strength, abs=1e-8)
        expected = strength * np.abs(after[step][path]).sum()
        assert penalties[step] == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_strengths_of_a_penalty_with_two(tmp_path):
    found, after, *_ = monitored(tmp_path, embedding)
    path = next(p for p in reversed(after[0]) if p.endswith("kernel"))
    for name in ("l1", "l2"):
        values = [v for _, v in found[f"kreg_strength/{path}/{name}"]]
        assert values == pytest.approx([0.01] * 3)


def test_dead_units_and_inputs(tmp_path):
    def half_dead():
        model, x, y = dense()
        kernel = model.layers[0].kernel
        w = ops.convert_to_numpy(kernel).copy()
        w[:, :3] = 0.0
        w[:2] = 0.0
        kernel.assign(w)
        return model, x, y

    found, after, *_ = monitored(tmp_path, half_dead, keras.optimizers.SGD(0.0))
    (path, *_) = after[0]
    assert found[f"kreg_dead_units/{path}"][-1] == (10, 3.0)
    assert found[f"kreg_dead_inputs/{path}"][-1] == (10, 2.0)
    assert found["kreg/dead_units"][-1] == (10, 3.0)


def test_losses_of_epochs(tmp_path):
    found, _, history, _ = monitored(tmp_path, dense)
    logged = [value for _, value in found["kreg/data_loss"]]
    assert logged == pytest.approx(history["data_loss"], rel=1e-6)
    shares = dict(found["kreg/penalty_share"])
    penalty = dict(found["kreg/penalty"])
    data_loss = dict(found["kreg/data_loss"])
    for step, share in shares.items():
        total = penalty[step] + data_loss[step]
        assert share == pytest.approx(penalty[step] / total, rel=1e-5)


def test_loss_between_readings_is_of_their_batches_alone(tmp_path):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    model.set_weights([np.zeros((1, 1)), np.zeros(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0])[:, None]
    model.fit(
        np.zeros((7, 1)),
        y,
        batch_size=2,
        shuffle=False,
        epochs=2,
        verbose=0,
        callbacks=[monitor_of(tmp_path, 1)],
    )
    series = events(tmp_path / "train")["kreg/data_loss"]
    expected = [1.0, 4.0, 9.0, 16.0]
    assert [value for _, value in series] == pytest.approx(2 * expected)


def test_generalization_gap(tmp_path):
    model, x, y = dense()
    model.compile("sgd", "mse")
    history = model.fit(
        x,
        y,
        epochs=3,
        validation_split=0.5,
        verbose=0,
        callbacks=[monitor_of(tmp_path)],
    ).history
    gaps = [v for _, v in events(tmp_path / "train")["kreg/generalization_gap"]]
    expected = np.subtract(history["val_data_loss"], history["data_loss"])
    assert gaps == pytest.approx(expected, rel=1e-4)


def test_gradient_and_optimality(tmp_path):
    x, y = RNG.normal(size=(8, 6)), RNG.normal(size=(8, 1))

    def linear():
        layer = layers.Dense(1, kernel_regularizer=kreg.L1(0.3))
        model = keras.Sequential([keras.Input((6,)), layer])
        return model, np.tile(x, (5, 1)), np.tile(y, (5, 1))

    adam = keras.optimizers.Adam(1e-9)  # so that the gradient stays
    found, after, *_ = monitored(tmp_path, linear, kreg.ProximalOptimizer(adam))
    kernel, bias = after[10]
    w = after[10][kernel]
    errors = x @ w + after[10][bias] - y
    gradient = 2.0 * x.T @ errors / len(x)
    moved = w - gradient
    stepped = np.sign(moved) * np.maximum(np.abs(moved) - 0.3, 0.0)
    for figure, expected in {
        f"kreg_gradient_norm/{kernel}": np.linalg.norm(gradient),
        f"kreg_gradient_norm/{bias}": abs(2.0 * errors.mean()),
        f"kreg_optimality/{kernel}": np.linalg.norm(w - stepped),
    }.items():
        assert found[figure][-1][1] == pytest.approx(expected, rel=1e-3)


def test_mixed_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    found, after, *_ = monitored(tmp_path, dense, update_freq=2)
    steps = [step for step, _ in found["kreg/sparsity"]]
    assert steps[-1] == max(after) >= 8  # steps that overflow do not count
    check_weights(found, after, steps)


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_mirrored_strategy(tmp_path, mirrored_strategy):
    def mirrored():
        with mirrored_strategy.scope():
            return dense()

    model, x, y = mirrored()
    with mirrored_strategy.scope():
        model.compile(kreg.ProximalOptimizer("adam"), "mse")
    recorder = Recorder()
    monitor = monitor_of(tmp_path, 2, threshold=THRESHOLD)
    model.fit(
        x,
        y,
        batch_size=8,
        epochs=2,
        verbose=0,
        callbacks=[recorder, monitor],
    )
    found = events(tmp_path / "train")
    check_weights(found, recorder.after, [0, 2, 4, 5, 6, 8, 10])


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras has none on torch"
)
def test_steps_per_execution(tmp_path):
    model, x, y = dense()
    model.compile("adam", "mse", steps_per_execution=2)
    recorder = Recorder()
    monitor = monitor_of(tmp_path, 3, threshold=THRESHOLD)
    model.fit(
        x[:32],
        y[:32],
        batch_size=4,
        epochs=2,
        verbose=0,
        callbacks=[recorder, monitor],
    )
    # Keras comes back after 2, 4, 6, 8 ... of 16 steps.
    check_weights(
        events(tmp_path / "train"), recorder.after, [0, 4, 6, 8, 10, 12, 16]
    )


def test_step_is_the_optimizer_iteration(tmp_path):
    model, x, y = dense()
    adam = keras.optimizers.Adam(gradient_accumulation_steps=2)
    model.compile(adam, "mse")
    monitor = monitor_of(tmp_path, 4)
    model.fit(x, y, batch_size=5, epochs=2, verbose=0, callbacks=[monitor])
    steps = [s for s, _ in events(tmp_path / "train")["kreg/sparsity"]]
    assert steps == [0, 2, 4, 6, 8]  # updates, not batches


@pytest.mark.parametrize("monitor_first", [True, False])
def test_last_reading_is_of_the_weights_that_fit_leaves(
    monitor_first, tmp_path
):
    model, x, y = dense()
    model.compile("adam", "mse")
    monitor = monitor_of(tmp_path)
    restore = keras.callbacks.EarlyStopping(
        monitor="loss", mode="max", patience=2, restore_best_weights=True
    )
    callbacks = [monitor, restore] if monitor_first else [restore, monitor]
    model.fit(x, y, epochs=9, verbose=0, callbacks=callbacks)
    found = events(tmp_path / "train")
    for variable in model.trainable_weights:
        path = variable.path.removeprefix(f"{model.name}/")
        values = [value for _, value in found[f"kreg_l2_norm/{path}"]]
        left = np.linalg.norm(ops.convert_to_numpy(variable))
        assert values[-1] == pytest.approx(left, rel=1e-5)
        if path.endswith("kernel"):
            assert values[-2] != pytest.approx(left, rel=1e-5)


def test_last_reading_is_after_a_moving_average(tmp_path):
    model, x, y = dense()
    model.compile(keras.optimizers.Adam(use_ema=True), "mse")
    monitor = monitor_of(tmp_path)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[monitor])
    w = np.concatenate([w.ravel() for w in model.get_weights()])
    last = events(tmp_path / "train")["kreg/l1_norm"][-1][1]
    assert last == pytest.approx(np.abs(w).sum(), rel=1e-5)


def test_curves_go_on_over_fits(tmp_path):
    model, x, y = dense()
    model.compile("adam", "mse")
    monitor = monitor_of(tmp_path)
    for _ in range(2):
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[monitor])
    steps = [s for s, _ in events(tmp_path / "train")["kreg/sparsity"]]
    assert steps == [0, 5, 5, 10]


def test_weights_of_a_model_that_is_built_by_its_first_batch(tmp_path):
    model = keras.Sequential([layers.Dense(4), layers.Dense(1)])
    model.compile("adam", "mse")
    monitor = monitor_of(tmp_path, 1)
    x, y = RNG.normal(size=(16, 3)), RNG.normal(size=(16, 1))
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[monitor])
    found = events(tmp_path / "train")
    assert [s for s, _ in found["kreg/l1_norm"]][-2:] == [1, 2]
    assert "kreg/model" in found


@pytest.mark.thorough
def test_figures_in_the_history(tmp_path):
    _, after, history, _ = monitored(tmp_path, dense, add_to_logs=True)
    w = np.concatenate([w.ravel() for w in after[10].values()])
    assert history["sparsity"][-1] == np.mean(w == 0.0)
    assert history["l1_norm"][-1] == pytest.approx(np.abs(w).sum(), rel=1e-5)
    assert {"penalty_share", "dead_units", "update_ratio"} <= set(history)


def test_other_callbacks_see_the_figures(tmp_path):
    model, x, y = dense()
    model.compile("adam", "mse")
    table = tmp_path / "table.csv"
    model.fit(
        x,
        y,
        verbose=0,
        callbacks=[
            monitor_of(tmp_path / "log", add_to_logs=True),
            keras.callbacks.CSVLogger(table),
        ],
    )
    assert "sparsity" in table.read_text().splitlines()[0].split(",")
