"""What is attached comes back from the model's file, whatever its layers."""

import copy
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from surgery import layers_without_room
from surgery.layers_without_room import MODELS, Scale, draw_weights, outputs
from thorough import few_of

import kreg
from kreg.binding import at_step

RECORD = "assets/~kreg_record/attached.json"


def own_regularizer(variable):
    return getattr(variable.regularizer, "penalty", variable.regularizer)


def text_of(regularizer):
    return json.dumps(keras.saving.serialize_keras_object(regularizer))


def own(model):
    """The regularizer of each weight with all its arguments, as text."""
    return [text_of(own_regularizer(v)) for v in model.weights]


def objects(model):
    """For each weight, the first weight with the same regularizer object."""
    regularizers = [own_regularizer(v) for v in model.weights]
    ids = [None if r is None else id(r) for r in regularizers]
    return [i and ids.index(i) for i in ids]


def loss_of(model):
    with at_step(3):
        return [float(keras.ops.convert_to_numpy(x)) for x in model.losses]


def files_in(path):
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def saved_and_loaded(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    return keras.saving.load_model(path)


def penalized(name):
    """A model of the table, with three penalties on many weights."""
    model = MODELS[name]()
    draw_weights(model)
    ramp = kreg.schedules.LinearRamp(0.0, 0.5, steps=10)
    lasso = kreg.L1(ramp, multiplier=0.3)
    weights = [v for v in model.trainable_weights if v.path.endswith("kernel")]
    if name == "part_of_an_attention":
        weights = [v for v in weights if "value" in v.path]
    rules = [(v, lasso) for v in weights]
    others = [v for v in model.trainable_weights if v.path[-4:] != "rnel"]
    rules += [(v, kreg.MCP(0.25)) for v in others[::2]]
    rules += [(v, keras.regularizers.L2(0.125)) for v in others[1::2]]
    return model, kreg.attach(model, rules)


FAST = ("part_of_an_attention", "nested", "own_weights")
every_model = pytest.mark.parametrize("name", few_of(MODELS, *FAST))


@every_model
def test_all_comes_back(name, tmp_path):
    model, changes = penalized(name)
    assert any(change.in_file for change in changes)
    assert "(.keras file)" in str(changes)
    loaded = saved_and_loaded(model, tmp_path)
    assert own(loaded) == own(model)
    assert objects(loaded) == objects(model)
    if name != "factors_of_lora":  # Keras saves their product
        np.testing.assert_allclose(sum(loss_of(loaded)), sum(loss_of(model)))
    assert kreg.check(loaded) == kreg.check(model)
    np.testing.assert_array_equal(outputs(loaded), outputs(model))


@every_model
def test_all_comes_back_a_second_time(name, tmp_path):
    model, _ = penalized(name)
    loaded = saved_and_loaded(model, tmp_path)
    kreg.bind(loaded)
    assert own(saved_and_loaded(loaded, tmp_path)) == own(model)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle])
def test_copies_have_it(copied):
    model, _ = penalized("composite")
    if copied is pickle:
        other = pickle.loads(pickle.dumps(model))
    else:
        other = copied(model)
    assert own(other) == own(model)


@pytest.mark.slow
def test_loads_without_kreg(tmp_path):
    """Where no layer of the model has room, its config has nothing of kreg."""
    for name, make in MODELS.items():
        first, changes = penalized(name)
        paths = [v.path for v in first.weights]
        in_file = [paths.index(c.path) for c in changes if c.in_file]
        model = make()
        draw_weights(model)
        kreg.attach(model, [(model.weights[i], kreg.L1(0.1)) for i in in_file])
        path = tmp_path / f"{name}.keras"
        model.save(path)
        assert RECORD in files_in(path)
        np.save(path.with_suffix(".npy"), outputs(model))
    script = Path(layers_without_room.__file__)
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(MODELS)


HUB = ("bert", "gpt2", "llama", "classifier")


def hub_model(name):
    hub = pytest.importorskip("keras_hub").models
    if name == "gpt2":
        return hub.GPT2Backbone(50, 2, 4, 16, 32, max_sequence_length=8)
    if name == "llama":
        return hub.LlamaBackbone(50, 2, 4, 16, 32, 2)
    bert = hub.BertBackbone(50, 2, 4, 16, 32, max_sequence_length=8)
    if name == "bert":
        return bert
    return hub.BertTextClassifier(bert, num_classes=3)


@pytest.mark.filterwarnings("ignore:.*was not called as part")
@pytest.mark.parametrize("name", few_of(HUB, "classifier"))
def test_kerashub(name, tmp_path):
    model = hub_model(name)
    changes = kreg.attach(
        model, [("*", kreg.GroupLasso(0.1)), ("*token*/embeddings", kreg.L1())]
    )
    assert all(change.in_file for change in changes)
    loaded = saved_and_loaded(model, tmp_path)
    assert own(loaded) == own(model)
    assert objects(loaded) == objects(model)
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"kreg" not in archive.read("config.json")


@keras.saving.register_keras_serializable(package="attached_files")
def fourth_powers(w):
    return keras.ops.sum(w**4)


RAMP = kreg.schedules.Delay(kreg.schedules.CosineRamp(0.1, 0.2, 9), 2)
PENALTIES = [
    kreg.L1(RAMP, multiplier=1 / 3),
    kreg.L2(keras.optimizers.schedules.PolynomialDecay(0.0, 9, 1e-3)),
    kreg.L1L2(0.1, 0.2),
    kreg.MCP(0.1, gamma=2.5),
    kreg.SCAD(0.1),
    kreg.GroupLasso(0.1, groups=(0,)),
    kreg.SparseGroupLasso(0.1, 0.2, groups=(0,)),
    kreg.L1(0.1, factors=[0.0, 1.0, 2.0, 0.5]),
    kreg.Scheduled(keras.regularizers.L1(0.5), RAMP),
    kreg.Scheduled(fourth_powers, 0.5),
    keras.regularizers.L1L2(0.1, 0.2),
    fourth_powers,
]


@pytest.mark.parametrize(
    "penalty", PENALTIES, ids=lambda p: getattr(p, "__name__", type(p).__name__)
)
def test_every_argument_comes_back(penalty, tmp_path):
    model = MODELS["own_weights"]()
    draw_weights(model)
    kreg.attach(model, [("*/scale", penalty)])
    loaded = saved_and_loaded(model, tmp_path)
    assert text_of(penalty) in own(loaded)
    assert own(loaded) == own(model)
    np.testing.assert_allclose(loss_of(loaded), loss_of(model))


# Training goes on as if it had not been broken off.

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 5, 4)).astype("float32")
Y = X * np.array([1.0, -1.0, 0.0, 0.1], "float32")


def fit(model, epochs, start=0, callbacks=()):
    model.fit(
        X,
        Y,
        batch_size=8,
        epochs=epochs,
        initial_epoch=start,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )


def trainable_model(optimizer):
    keras.utils.set_random_seed(0)
    model = MODELS["own_weights"]()
    model.compile(optimizer(), "mse")
    ramp = kreg.schedules.LinearRamp(0.0, 0.02, steps=16)
    scale = model.layers[1]
    kreg.attach(
        model, [(scale.first, kreg.L1(ramp)), (scale.second, kreg.L2())]
    )
    return model


def proximal():
    return kreg.ProximalOptimizer(keras.optimizers.Adam(0.01))


OPTIMIZERS = [proximal, lambda: keras.optimizers.SGD(0.01)]


@pytest.mark.thorough
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["proximal", "plain"])
def test_training_of_a_checkpoint_goes_on(optimizer, tmp_path):
    unbroken = trainable_model(optimizer)
    fit(unbroken, epochs=4)
    model = trainable_model(optimizer)
    path = tmp_path / "{epoch}.keras"
    save = keras.callbacks.ModelCheckpoint(path)
    fit(model, epochs=3, callbacks=[save])
    loaded = keras.saving.load_model(tmp_path / "2.keras")
    kreg.bind(loaded)
    fit(loaded, epochs=4, start=2)
    for ours, theirs in zip(
        loaded.get_weights(), unbroken.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def target():
    return kreg.TargetSparsity(0.5, verbose=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TargetSparsity")
def test_controller_of_a_checkpoint_goes_on(tmp_path):
    def model_and_callbacks():
        model = trainable_model(proximal)
        kreg.attach(model, [(lambda v: True, kreg.L1(0.01))])
        return model, [target()]

    unbroken, callbacks = model_and_callbacks()
    fit(unbroken, 4, callbacks=callbacks)
    model, callbacks = model_and_callbacks()
    save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    fit(model, 4, callbacks=[*callbacks, save])
    loaded = keras.saving.load_model(tmp_path / "2.keras")
    (penalty,) = {own_regularizer(v) for v in loaded.weights} - {None}
    assert penalty.steering[1]
    fit(loaded, 4, start=2, callbacks=[target()])
    assert own(loaded) == own(unbroken)
    for ours, theirs in zip(
        loaded.get_weights(), unbroken.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.thorough
def test_resumed_by_backup_and_restore(tmp_path):
    class Interrupted(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    unbroken = trainable_model(proximal)
    fit(unbroken, epochs=4)
    model = trainable_model(proximal)
    with pytest.raises(KeyboardInterrupt):
        fit(model, epochs=4, callbacks=[backup(), Interrupted()])
    resumed = trainable_model(proximal)
    fit(resumed, epochs=4, callbacks=[backup()])
    for ours, theirs in zip(
        resumed.get_weights(), unbroken.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


# What is kept, and what is not.


@pytest.mark.thorough
def test_model_around_it_keeps_it(tmp_path):
    inner, _ = penalized("composite")
    inputs = keras.Input((5, 4))
    outer = keras.Model(inputs, layers.Dense(2)(inner(inputs)))
    loaded = saved_and_loaded(outer, tmp_path)
    assert own(loaded) == own(outer)
    assert own(loaded.layers[1]) == own(inner)


def test_plain_models_are_saved_as_ever(tmp_path):
    MODELS["nested"]().save(tmp_path / "model.keras")
    assert sorted(files_in(tmp_path / "model.keras")) == [
        "config.json",
        "metadata.json",
        "model.weights.h5",
    ]


def test_what_layers_save_is_in_no_record(tmp_path):
    model = keras.Sequential([keras.Input((5, 4)), layers.Dense(2)])
    kreg.attach(model, kreg.L1(0.1))
    model.save(tmp_path / "model.keras")
    assert RECORD not in files_in(tmp_path / "model.keras")


def test_weights_alone_regularize_no_other_model(tmp_path):
    model, _ = penalized("composite")
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    model.save(tmp_path / "model.keras")
    other = MODELS["composite"]()
    other.load_weights(path)
    other.load_weights(tmp_path / "model.keras")
    assert other.losses == []


def test_clone_has_what_configs_have():
    model, _ = penalized("composite")
    clone = keras.models.clone_model(model)
    penalized_weights = [v for v in clone.weights if v.regularizer is not None]
    assert penalized_weights == clone.layers[-1].weights


def test_stripped_model_has_no_trace(tmp_path):
    model, _ = penalized("composite")
    kreg.strip(model)
    model.save(tmp_path / "model.keras")
    assert RECORD not in files_in(tmp_path / "model.keras")


def test_exported_file_has_no_trace(tmp_path):
    model, _ = penalized("composite")
    kreg.export(model, tmp_path / "model.keras", "keras")
    assert RECORD not in files_in(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"kreg" not in b"".join(map(archive.read, archive.namelist()))
    model.save(tmp_path / "again.keras")
    assert RECORD in files_in(tmp_path / "again.keras")


def test_regularizer_of_a_layer_stays_off(tmp_path):
    model = MODELS["own_weights"]()
    kreg.attach(model, [("*/decayed", None)])
    assert model.losses == []
    assert saved_and_loaded(model, tmp_path).losses == []


def test_regularizer_of_a_layer_that_is_put_back_is_in_no_record(tmp_path):
    model = MODELS["own_weights"]()
    decayed = model.layers[1].decayed
    before = decayed.regularizer
    kreg.attach(model, [("*/decayed", kreg.L1(0.1))])
    kreg.attach(model, [("*/decayed", before)])
    model.save(tmp_path / "model.keras")
    assert RECORD not in files_in(tmp_path / "model.keras")


def test_taken_off_all_heads_after_one(tmp_path):
    """The attention saves the regularizer of all heads, and not that of one."""
    model, penalty = MODELS["part_of_an_attention"](), kreg.L1(0.1)
    kreg.attach(model, [("heads/query", kreg.L2(0.1))])
    kreg.attach(model, penalty)
    kreg.attach(model, [("heads/query", None)])
    loaded = saved_and_loaded(model, tmp_path)
    assert own(loaded) == own(model)
    assert own(loaded).count("null") == 5


# What cannot be put back is told, and the model is loaded.


def test_unknown_function_is_told(tmp_path):
    def mine(w):
        return keras.ops.sum(abs(w))

    model = MODELS["own_weights"]()
    draw_weights(model)
    kreg.attach(model, [("*/scale", mine), ("*/decayed", kreg.Scheduled(mine))])
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=r"scale.*mine.*custom_object_scope"):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(model))
    with keras.saving.custom_object_scope({"mine": mine}):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert own_regularizer(loaded.layers[1].scale) is mine


def with_record(path, change):
    """The file with another record."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files[RECORD] = change(files[RECORD])
    changed = path.with_name("changed.keras")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return changed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"shape": [', b'"shape": [1,', "no such weight"),
        (b'"version": 1', b'"version": 7', "version 7"),
        (b"kreg>MCP", b"kreg>None", "MCP"),
        (b'"attached"', b'"other"', "attached"),
        (b"{", b"", "could not be put back"),
    ],
)
def test_record_that_does_not_fit_is_told(old, new, message, tmp_path):
    model = MODELS["own_weights"]()
    draw_weights(model)
    kreg.attach(model, [("*/scale", kreg.MCP(0.1))])
    model.save(tmp_path / "model.keras")
    path = with_record(
        tmp_path / "model.keras", lambda text: text.replace(old, new)
    )
    with pytest.warns(UserWarning, match=message):
        loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(outputs(loaded), outputs(model))


@pytest.mark.parametrize("prefix", [b"", b"outer/"])
def test_weights_are_found_by_path_among_other_layers(prefix, tmp_path):
    model = MODELS["own_weights"]()
    kreg.attach(model, [("norm/scale", kreg.MCP(0.1))])
    model.save(tmp_path / "model.keras")
    path = with_record(
        tmp_path / "model.keras",
        lambda text: text.replace(b'"Scale"', b'"Before"').replace(
            b"norm/scale", prefix + b"norm/scale"
        ),
    )
    assert own(keras.saving.load_model(path)) == own(model)


def test_object_that_keras_cannot_save_is_told_when_attached(tmp_path):
    class Mine:
        def __call__(self, w):
            return keras.ops.sum(abs(w))

    model = MODELS["own_weights"]()
    with pytest.warns(UserWarning, match=r"scale.*will not be saved"):
        changes = kreg.attach(model, [("*/scale", Mine())])
    assert "(not saved)" in str(changes)
    loaded = saved_and_loaded(model, tmp_path)
    assert own_regularizer(loaded.layers[1].scale) is None


def test_names_that_keras_numbers_do_not_mislead(tmp_path):
    """Two weights without names, whose numbers another model shifts by one."""
    model = keras.Sequential([keras.Input((5, 4)), Scale(name="own")])
    scale = model.layers[0]
    kreg.attach(model, [(scale.first, kreg.L1(0.1)), (scale.second, kreg.L2())])
    model.save(tmp_path / "model.keras")
    path = tmp_path / "model.keras"
    _, first, second, _ = (v.name for v in scale.weights)
    shifted = with_record(
        path,
        lambda text: text.replace(second.encode(), b"other").replace(
            first.encode(), second.encode()
        ),
    )
    for file in (path, shifted):
        assert own(keras.saving.load_model(file)) == own(model)


@pytest.mark.parametrize("kind", ["model", "weights"])
def test_h5_files_are_as_without_a_record(kind, tmp_path):
    x = keras.Input((3, 8))
    attention = keras.layers.MultiHeadAttention(2, 4, name="attention")
    model = keras.Model(x, attention(x, x))
    kreg.attach(model, kreg.L1(1e-3))
    penalties = str(kreg.penalties(model))
    expected = model.get_weights()
    if kind == "model":
        path = tmp_path / "model.h5"
        model.save(path)
        model = keras.saving.load_model(path, compile=False)
    else:
        path = tmp_path / "model.weights.h5"
        model.save_weights(path)
        model.load_weights(path)
    for found, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, value)
    assert str(kreg.penalties(model)) == penalties
