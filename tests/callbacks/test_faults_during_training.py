"""Whatever fails in a monitor, the weights are those of a fit without it."""

import os
import shutil

import keras
import numpy as np
import pytest
from event_files import events
from keras import layers, ops
from thorough import few_of

import kreg

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = X[:, :1]
EPOCHS = 3


class EmptyWeights(layers.Layer):
    """Has weights without entries."""

    def build(self, input_shape):
        for i, shape in enumerate([(0,), (3, 0), (0, 3)]):
            self.add_weight(shape, regularizer=kreg.L1(0.1), name=f"w{i}")

    def call(self, x):
        return x


class RaisesOutside(keras.regularizers.Regularizer):
    """Can be evaluated in a training step alone."""

    in_step = False

    def __call__(self, w):
        if not self.in_step:
            raise RuntimeError("outside of the step")
        return 1e-3 * ops.sum(ops.square(w))

    def get_config(self):
        raise RuntimeError("no config")

    def __repr__(self):
        raise RuntimeError("no repr")


def model_of(*hidden, regularizer=None):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            *hidden,
            layers.Dense(
                1,
                kernel_initializer=keras.initializers.GlorotUniform(seed=0),
                kernel_regularizer=regularizer or kreg.L1(1e-3),
                name="last",
            ),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    return model


class AfterSecondEpoch(keras.callbacks.Callback):
    """Does harm at the end of the second epoch, before the monitor looks."""

    def __init__(self, harm):
        super().__init__()
        self.harm = harm

    def on_train_batch_begin(self, batch, logs=None):
        RaisesOutside.in_step = True

    def on_train_batch_end(self, batch, logs=None):
        RaisesOutside.in_step = False

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.harm(self.model, logs)


def fit(model, *callbacks):
    model.fit(
        X,
        Y,
        batch_size=16,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model.get_weights()


def nothing(model, logs):
    pass


def weights_become(value):
    def harm(model, logs):
        kernel = model.get_layer("last").kernel
        kernel.assign(np.full(kernel.shape, value))

    return harm


def logs_become(**values):
    return lambda model, logs: logs.update(values)


def path_becomes(path):
    def harm(model, logs):
        model.get_layer("last").kernel._path = path

    return harm


NAN = "these weights hold NaN or infinite entries"
DATA_LOSS = "could not use `data_loss` of the logs"
# What is harmed, the model, and the warnings that name it.
FAULTS = {
    "NaN weights": (weights_become(np.nan), model_of, [NAN]),
    "infinite weights": (weights_become(np.inf), model_of, [NAN]),
    "the largest weights": (weights_become(3e38), model_of, [NAN]),
    "weights without entries": (
        nothing,
        lambda: model_of(EmptyWeights()),
        [],
    ),
    "a loss that is a text": (
        logs_become(data_loss="low"),
        model_of,
        [DATA_LOSS],
    ),
    "a loss that is a list": (
        logs_become(data_loss=[1.0, 2.0]),
        model_of,
        [DATA_LOSS],
    ),
    "a loss of three entries": (
        logs_become(data_loss=np.ones(3)),
        model_of,
        [DATA_LOSS],
    ),
    "a validation loss that is a dict": (
        logs_become(val_data_loss={"a": 1.0}),
        model_of,
        ["could not use `val_data_loss` of the logs"],
    ),
    "no loss": (logs_become(data_loss=None), model_of, []),
    "a regularizer that raises": (
        nothing,
        lambda: model_of(regularizer=RaisesOutside()),
        ["could not evaluate the regularizer of .*last/kernel: RuntimeError"],
    ),
    "a path that is no text": (
        path_becomes(None),
        model_of,
        ["could not read the weights", "could not end an epoch"],
    ),
    "a path that UTF-8 lacks": (path_becomes("\ud800/a\n//b"), model_of, []),
    "a path of 70,000 characters": (path_becomes("k" * 70_000), model_of, []),
}


@pytest.mark.parametrize(
    "name",
    few_of(FAULTS, "NaN weights", "a loss that is a text", *list(FAULTS)[-4:]),
)
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_the_fault_is_told_and_the_weights_are_the_same(name, tmp_path, told):
    backend = keras.backend.backend()
    if name == "a regularizer that raises" and backend != "tensorflow":
        pytest.skip("Keras's own `fit` evaluates it outside of a batch")
    harm, model, warned = FAULTS[name]
    expected = fit(model(), AfterSecondEpoch(harm))
    monitor = kreg.RegularizationMonitor(
        tmp_path, 1, histogram_freq=1, image_freq=1, check=False
    )
    with told(*warned):
        weights = fit(model(), AfterSecondEpoch(harm), monitor)
    for w, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(w, other)
    steps = [step for step, _ in events(tmp_path / "train")["kreg/sparsity"]]
    assert steps == ([*range(5)] if "no text" in name else [*range(7)])


def test_other_weights_are_logged_beside_one_that_cannot_be(tmp_path, told):
    model = model_of(layers.Dense(2, name="first"))
    model.get_layer("last").kernel.regularizer = RaisesOutside()
    monitor = kreg.RegularizationMonitor(tmp_path, check=False)
    with told("could not evaluate the regularizer of .*last/kernel"):
        monitor.set_params({"epochs": 1, "steps": 1})
        monitor.set_model(model)
        monitor.on_train_begin()
        monitor.on_epoch_begin(0)
    found = events(tmp_path / "train")
    for name in ("first", "last"):
        w = ops.convert_to_numpy(model.get_layer(name).kernel)
        (_, norm), *_ = found[f"kreg_l2_norm/{name}/kernel"]
        assert norm == pytest.approx(np.linalg.norm(w), rel=1e-5)
    assert np.isnan(found["kreg_penalty/last/kernel"][0][1])


@pytest.mark.parametrize(
    ("harm", "warned"),
    [
        (shutil.rmtree, "Logging stops"),
        (lambda log: (shutil.rmtree(log), log.touch()), "Logging stops"),
        (
            lambda log: [os.truncate(p, 100) for p in log.glob("train/*")],
            "was cut by another program",
        ),
    ],
    ids=["removed", "a file in its place", "cut"],
)
def test_a_log_that_is_harmed_is_one_warning(tmp_path, told, harm, warned):
    log = tmp_path / "log"
    monitor = kreg.RegularizationMonitor(log, 1, check=False)
    with told(warned):
        fit(model_of(), AfterSecondEpoch(lambda m, _: harm(log)), monitor)
    if "cut" in warned:
        found = events(log / "train", "*.1.kreg") or events(log / "train")
        assert found["kreg/sparsity"][-1][0] == 2 * EPOCHS


def test_an_interrupt_passes(tmp_path):
    def interrupt(model, logs):
        class Interrupting(dict):
            def get(self, *args):
                raise KeyboardInterrupt

        monitor.on_epoch_end(2, Interrupting())

    monitor = kreg.RegularizationMonitor(tmp_path, check=False)
    with pytest.raises(KeyboardInterrupt):
        fit(model_of(), AfterSecondEpoch(interrupt), monitor)


def test_a_relative_directory_is_that_of_the_start(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monitor = kreg.RegularizationMonitor("log", check=False)
    leave = AfterSecondEpoch(lambda m, logs: os.chdir("elsewhere"))
    fit(model_of(), leave, monitor)
    found = events(tmp_path / "log" / "train")
    assert found["kreg/sparsity"][-1][0] == 2 * EPOCHS
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_name_that_is_too_long_is_refused_before_training(tmp_path):
    model = model_of()
    monitor = kreg.RegularizationMonitor(tmp_path / ("a" * 300))
    with pytest.raises(OSError, match="`log_dir` must be a directory"):
        fit(model, monitor)
    assert int(model.optimizer.iterations) == 0


class KilledError(Exception):
    """Ends a training from outside."""


@pytest.mark.parametrize("monitor_first", [True, False])
def test_a_resumed_curve_goes_on_in_either_order(tmp_path, told, monitor_first):
    def kill(model, logs):
        raise KilledError

    def run(*others):
        two = [
            kreg.RegularizationMonitor(tmp_path / "log", check=False),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        ]
        fit(model_of(), *(two if monitor_first else two[::-1]), *others)

    with pytest.raises(KilledError):
        run(AfterSecondEpoch(kill))
    with told():
        run()
    curve = events(tmp_path / "log" / "train")["kreg/l1_norm"]
    points = dict(curve)
    assert [step for step, _ in curve] in ([0, 2, 4, 4, 6], [0, 2, 4, 2, 4, 6])
    model = model_of()
    for epoch in range(EPOCHS + 1):
        total = sum(np.abs(w).sum() for w in model.get_weights())
        assert points[2 * epoch] == pytest.approx(total, rel=1e-5)
        model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)


def test_an_event_file_that_a_kill_left_cut_is_told(tmp_path, told):
    fit(model_of(), kreg.RegularizationMonitor(tmp_path, check=False))
    (file,) = (tmp_path / "train").iterdir()
    os.truncate(file, file.stat().st_size - 7)
    with told("will mix their curves", f"{file.name} is damaged from byte"):
        fit(model_of(), kreg.RegularizationMonitor(tmp_path, check=False))


@pytest.mark.parametrize(
    "value",
    [10**400, -(10**400), None, {"a": 1}, [1.0], np.ones(2), b"a", 1j],
    ids=str,
)
def test_hyperparameters_that_cannot_be_shown_are_refused(tmp_path, value):
    with pytest.raises((TypeError, ValueError), match="`hparams` must"):
        kreg.RegularizationMonitor(tmp_path, hparams={"a": value})


def test_hyperparameters_at_the_edges_are_written(tmp_path, told):
    hparams = {
        "": "",
        "nan": np.nan,
        "largest": 2**1023,
        "single": np.float32(0.5),
        "flag": np.bool_(True),
        "text": "\ud800",
    }
    monitor = kreg.RegularizationMonitor(tmp_path, check=False, hparams=hparams)
    with told():
        fit(model_of(), monitor)
    assert len(list(tmp_path.glob("*.kreg"))) == 1
