"""A monitor that cannot work says so, and never harms training."""

import shutil

import keras
import numpy as np
import pytest
from event_files import events, metadata
from keras import layers

import kreg

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = RNG.normal(size=(32, 1)).astype("float32")


def monitor_of(log_dir, update_freq="epoch", **settings):
    """Without the linter, which has tests of its own."""
    settings = {"check": False, **settings}
    return kreg.RegularizationMonitor(log_dir, update_freq, **settings)


def compiled(names=("hidden", "last"), optimizer="adam"):
    model = keras.Sequential([keras.Input((4,))])
    for name in names:
        model.add(
            layers.Dense(
                2 if name != names[-1] else 1,
                kernel_initializer=keras.initializers.GlorotUniform(seed=0),
                kernel_regularizer=kreg.L1(1e-3),
                name=name,
            )
        )
    model.compile(optimizer, "mse")
    kreg.bind(model)
    return model


def fit(model, *callbacks, epochs=3):
    model.fit(
        X,
        Y,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model.get_weights()


def told(caught):
    """The warnings that are for users."""
    return [str(w.message) for w in caught if w.category is UserWarning]


def steps(folder, tag="kreg/sparsity"):
    return [step for step, _ in events(folder / "train").get(tag, [])]


def assert_equal(weights, others):
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unwritable_directory_is_an_error_before_training(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a directory")
    model = compiled()
    before = model.get_weights()
    with pytest.raises(OSError, match="`log_dir` must be a directory"):
        fit(model, monitor_of(file))
    assert_equal(before, model.get_weights())
    assert int(model.optimizer.iterations) == 0


class DuringTraining(keras.callbacks.Callback):
    """Calls a function once, at the end of the second epoch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.function()


@pytest.mark.thorough
def test_removed_directory_is_one_warning_and_training_ends(tmp_path):
    plain = fit(compiled(), epochs=6)
    folder = tmp_path / "log"
    remove = DuringTraining(lambda: shutil.rmtree(folder))
    monitor = monitor_of(folder, 2)
    with pytest.warns(UserWarning, match="Logging stops") as caught:
        weights = fit(compiled(), remove, monitor, epochs=6)
    assert len(told(caught)) == 1
    assert_equal(plain, weights)


def test_full_disk_is_one_warning_and_training_ends(tmp_path):
    resource = pytest.importorskip("resource")
    plain = fit(compiled(), epochs=6)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    (path,) = [tmp_path / "log"]

    def fill():
        written = sum(f.stat().st_size for f in path.glob("train/*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (written + 500, hard))

    monitor = monitor_of(path, 2)
    try:
        with pytest.warns(UserWarning, match="Logging stops") as caught:
            weights = fit(compiled(), DuringTraining(fill), monitor, epochs=6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert len(told(caught)) == 1
    assert "too large" in told(caught)[0]
    assert_equal(plain, weights)
    assert steps(path)[:3] == [0, 2, 4]  # what was written can be read


def test_monitor_does_not_touch_weights(tmp_path):
    plain = fit(compiled(optimizer=kreg.ProximalOptimizer("adam")))
    watched = compiled(optimizer=kreg.ProximalOptimizer("adam"))
    monitor = monitor_of(tmp_path, 1, histogram_freq=1, image_freq=1)
    assert_equal(plain, fit(watched, monitor))


def test_two_monitors_of_one_directory_are_refused(tmp_path):
    model = compiled()
    two = [monitor_of(tmp_path) for _ in range(2)]
    with pytest.raises(
        ValueError, match="`log_dir` must be a different directory"
    ):
        fit(model, *two)
    assert int(model.optimizer.iterations) == 0


def test_two_monitors_of_two_directories(tmp_path):
    fit(
        compiled(),
        monitor_of(tmp_path / "a"),
        monitor_of(tmp_path / "b", 6),
    )
    assert steps(tmp_path / "a") == [0, 4, 8, 12]
    assert steps(tmp_path / "b") == [0, 4, 6, 8, 12]
    losses = "kreg/data_loss"
    assert steps(tmp_path / "b", losses) == [6, 12]


def test_after_an_error_a_new_monitor_may_have_the_directory(tmp_path):
    def fail():
        raise KeyError("stop")

    model = compiled()
    broken = monitor_of(tmp_path)
    with pytest.raises(KeyError, match="stop"):
        fit(model, broken, DuringTraining(fail))
    fit(model, monitor_of(tmp_path))
    assert steps(tmp_path)[-1] == 20


@pytest.mark.thorough
def test_second_run_in_a_directory_is_said(tmp_path):
    fit(compiled(), monitor_of(tmp_path))
    with pytest.warns(UserWarning, match="will mix their curves"):
        fit(compiled(), monitor_of(tmp_path))


@pytest.mark.thorough
def test_one_monitor_for_two_models_is_said(tmp_path):
    monitor = monitor_of(tmp_path)
    fit(compiled(), monitor)
    with pytest.warns(UserWarning, match="will mix their curves"):
        fit(compiled(), monitor)


@pytest.mark.thorough
def test_continued_run_is_not(tmp_path):
    model = compiled()
    fit(model, monitor_of(tmp_path))
    fit(model, monitor_of(tmp_path))
    assert steps(tmp_path) == [0, 4, 8, 12, 12, 16, 20, 24]


def test_keras_own_callback_in_the_same_directory(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.importorskip("tensorflow")
    fit(
        compiled(),
        keras.callbacks.TensorBoard(tmp_path),
        monitor_of(tmp_path),
    )
    found = events(tmp_path / "train")
    assert len(found["epoch_loss"]) == 3
    assert [step for step, _ in found["kreg/sparsity"]] == [0, 4, 8, 12]


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow",
    reason="Keras refuses such names on TensorFlow",
)
def test_names_with_spaces_and_accents(tmp_path):
    names = ["naïve layer", "слой %{}", "隠れ層"]
    fit(compiled(names), monitor_of(tmp_path))
    found = events(tmp_path / "train")
    for name in names:
        assert f"kreg_sparsity/{name}/kernel" in found


@pytest.mark.thorough
def test_names_that_look_like_markup(tmp_path):
    names = ["a>b", "_under_", "last"]
    fit(compiled(names), monitor_of(tmp_path))
    found = events(tmp_path / "train")
    (text,) = found["kreg/summary"][0][1]
    assert r"/a\>b/kernel" in text.decode()
    assert r"/\_under\_/kernel" in text.decode()
    assert "kreg_sparsity/a>b/kernel" in found


def test_nested_names_have_slashes(tmp_path):
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="deep")], name="block"
    )
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(1)])
    model.compile("sgd", "mse")
    fit(model, monitor_of(tmp_path))
    assert "kreg_sparsity/block/deep/kernel" in events(tmp_path / "train")


def test_weights_of_one_path_have_curves_of_their_own(tmp_path):
    inputs = keras.Input((4,))
    # Keras does not demand that names differ between nested models.
    blocks = [
        keras.Sequential([keras.Input((4,)), layers.Dense(4, name="same")])
        for _ in range(2)
    ]
    outer = [
        keras.Model(inputs, block.layers[0](inputs), name=f"part_{i}")
        for i, block in enumerate(blocks)
    ]
    x = layers.Add()([part(inputs) for part in outer])
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    fit(model, monitor_of(tmp_path))
    found = events(tmp_path / "train")
    kernels = [t for t in found if t.startswith("kreg_l2_norm/") and "ker" in t]
    assert len(kernels) == 3


@pytest.mark.slow
def test_a_thousand_layers(tmp_path):
    inputs = keras.Input((2,))
    # Side by side, as a deeper graph than Python's stack is Keras's limit.
    heads = [layers.Dense(1, name=f"head_{i}")(inputs) for i in range(1000)]
    model = keras.Model(inputs, layers.Add()(heads))
    model.compile("sgd", "mse")
    model.fit(
        X[:, :2],
        Y,
        batch_size=32,
        verbose=0,
        callbacks=[monitor_of(tmp_path)],
    )
    found = events(tmp_path / "train")
    assert sum(tag.startswith("kreg_sparsity/") for tag in found) == 2000
    w = keras.ops.convert_to_numpy(model.get_layer("head_999").kernel)
    assert found["kreg_l2_norm/head_999/kernel"][-1][1] == pytest.approx(
        np.linalg.norm(w), rel=1e-5
    )


def test_nan_is_reported_once_by_name_and_step(tmp_path):
    model = compiled(optimizer="sgd")
    layer = model.get_layer("last")

    def spoil():
        layer.bias.assign([np.nan])

    monitor = monitor_of(tmp_path)
    with pytest.warns(UserWarning, match="NaN or infinite") as caught:
        fit(model, DuringTraining(spoil), monitor, epochs=4)
    assert len(told(caught)) == 1
    assert "At step 8 these weights" in told(caught)[0]
    assert "last/bias" in told(caught)[0]
    values = events(tmp_path / "train")["kreg_l1_norm/last/bias"]
    assert np.isnan(values[-1][1])


def test_model_without_weights_or_regularizers(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    fit(model, monitor_of(tmp_path))
    found = events(tmp_path / "train")
    assert not [tag for tag in found if tag.startswith("kreg_penalty")]
    assert found["kreg/penalty"][-1] == (12, 0.0)


def test_what_is_not_a_curve(tmp_path):
    monitor = monitor_of(
        tmp_path,
        histogram_freq=2,
        image_freq=3,
        hparams={"strength": 1e-3, "proximal": True, "optimizer": "adam"},
    )
    fit(compiled(), monitor)
    kinds = metadata(tmp_path / "train")
    assert kinds["kreg/summary"] == "text"
    assert kinds["kreg/model"] == "kreg"
    assert kinds["custom_scalars__config__"] == "custom_scalars"
    assert kinds["kreg_histogram/hidden/kernel"] == "histograms"
    assert kinds["kreg_image/hidden/kernel"] == "images"
    assert steps(tmp_path, "kreg_histogram/hidden/bias") == [8]
    assert steps(tmp_path, "kreg_image/hidden/kernel") == [12]
    assert set(metadata(tmp_path).values()) == {"hparams"}


def test_histogram_counts_every_entry(tmp_path):
    model = compiled()
    fit(model, monitor_of(tmp_path, histogram_freq=3))
    table = events(tmp_path / "train")["kreg_histogram/hidden/kernel"][-1][1]
    w = model.get_weights()[0]
    assert table[:, 2].sum() == w.size
    assert table[0, 0] == pytest.approx(w.min())
    assert table[-1, 1] == pytest.approx(w.max())


def test_image_is_black_where_a_kernel_is_zero(tmp_path):
    import io

    from PIL import Image

    model = compiled(optimizer=keras.optimizers.SGD(0.0))
    w = np.array([[1.0, 0.0], [-2.0, 0.5], [0.0, 0.0], [1.0, 1.0]])
    model.get_layer("hidden").kernel.assign(w)
    fit(model, monitor_of(tmp_path, image_freq=1), epochs=1)
    tag = "kreg_image/hidden/kernel"
    width, height, png = events(tmp_path / "train")[tag][-1][1]
    assert (int(width), int(height)) == (2, 4)
    shades = np.array(Image.open(io.BytesIO(png)))
    np.testing.assert_array_equal(shades == 0, w == 0)
    assert shades.max() == shades[1, 0] == 255


def test_large_kernel_keeps_its_dead_columns_in_the_image():
    from kreg.callbacks._monitor.log import picture

    w = np.ones((3, 3, 200, 1024))
    w[..., 512:] = 0.0
    shades = picture(w)
    assert shades.shape == (512, 512)
    assert (shades[:, :256] == 255).all()
    assert (shades[:, 256:] == 0).all()


def test_only_the_chief_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "kreg.callbacks._regularization_monitor.is_chief", lambda model: False
    )
    fit(compiled(), monitor_of(tmp_path / "log"))
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"log_dir": 3}, TypeError),
        ({"log_dir": "gs://bucket/logs"}, ValueError),
        ({"update_freq": 0}, ValueError),
        ({"update_freq": "batch"}, TypeError),
        ({"histogram_freq": -1}, ValueError),
        ({"image_freq": 1.5}, TypeError),
        ({"hparams": {"rate": [1]}}, TypeError),
        ({"threshold": -1.0}, ValueError),
    ],
)
def test_bad_settings_are_refused(setting, error):
    (name,) = setting
    with pytest.raises(error, match=f"`{name}` must be"):
        kreg.RegularizationMonitor(**{"log_dir": "logs", **setting})


def test_monitor_with_own_list_of_callbacks(tmp_path):
    model = compiled()
    monitor = monitor_of(tmp_path)
    several = keras.callbacks.CallbackList([monitor], model=model, epochs=2)
    fit(model, several, epochs=2)
    assert steps(tmp_path)[-1] == 8


def test_mistakes_are_said_at_the_start_and_in_the_text(tmp_path):
    monitor = kreg.RegularizationMonitor(tmp_path)
    with pytest.warns(UserWarning, match="hidden/kernel") as caught:
        fit(compiled(), monitor)
    assert len([t for t in told(caught) if "ProximalOptimizer" in t]) == 1
    (text,) = events(tmp_path / "train")["kreg/summary"][0][1]
    assert "ProximalOptimizer" in text.decode()


def test_penalty_above_the_data_loss_is_said_once(tmp_path):
    penalty = kreg.L2(100.0)
    layer = layers.Dense(1, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    with pytest.warns(UserWarning, match="data loss") as caught:
        fit(model, kreg.RegularizationMonitor(tmp_path))
    assert len(told(caught)) == 1
