"""What `kreg.export` refuses, and what it leaves behind: nothing."""

import importlib.util

import keras
import numpy as np
import pytest
from deployment.shipped_models import Subclassed, perceptron, words
from keras import layers

import kreg
from kreg.deployment import _export, _outputs
from kreg.deployment.formats import FORMATS, require_format

BACKEND = keras.backend.backend()


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_outputs_that_differ_are_refused_with_how_much(tmp_path, monkeypatch):
    def twice(path, kind, sample, names):
        return [
            2.0 * y for y in _outputs.artefact_outputs(path, kind, sample, [])
        ]

    monkeypatch.setattr(_export, "artefact_outputs", twice)
    with pytest.raises(ValueError, match="differ by 1 of the largest"):
        kreg.export(perceptron(), tmp_path / "net.keras", "keras")
    assert listed(tmp_path) == []


def test_larger_tolerance_accepts(tmp_path, monkeypatch):
    def larger(path, kind, sample, names):
        return [
            1.01 * y for y in _outputs.artefact_outputs(path, kind, sample, [])
        ]

    monkeypatch.setattr(_export, "artefact_outputs", larger)
    path = tmp_path / "net.keras"
    with pytest.raises(ValueError, match=r"tolerance 0\.0001"):
        kreg.export(perceptron(), path, "keras")
    record = kreg.export(perceptron(), path, "keras", tolerance=0.02)
    assert record.largest_difference == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    "kind",
    ["keras", pytest.param("tf_saved_model", marks=pytest.mark.tensorflow)],
)
def test_nothing_is_overwritten_unasked(kind, tmp_path):
    path = tmp_path / f"net{FORMATS[kind].suffix}"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        kreg.export(perceptron(), path, kind)
    assert path.read_text() == "mine"
    assert listed(tmp_path) == [path.name]


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "name",
    ["net.tflit", "net.tflite", "net.onx", "net.KERAS", "net.h5", "net.pt"],
)
def test_a_saved_model_is_not_called_like_a_file(name, tmp_path):
    with pytest.raises(ValueError, match="`path` must be the path of a folder"):
        kreg.export(perceptron(), tmp_path / name)
    assert listed(tmp_path) == []


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "name", ["net", "net-2.5", "net.v5", "my.model", "my.final"]
)
def test_other_names_of_a_folder_are_taken(name, tmp_path):
    require_format("tf_saved_model", tmp_path / name)


@pytest.mark.tensorflow
def test_overwrite_replaces_a_folder_whole(tmp_path):
    path = tmp_path / "net"
    path.mkdir()
    (path / "old").write_text("old")
    (path / "saved_model.pb").write_text("old")
    kreg.export(perceptron(), path, overwrite=True)
    assert listed(tmp_path)[0] == "net"
    assert "net/old" not in listed(tmp_path)
    assert "net/saved_model.pb" in listed(tmp_path)


@pytest.mark.tensorflow
def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "one").write_text("mine")
    with pytest.raises(FileExistsError, match="not a SavedModel"):
        kreg.export(perceptron(), tmp_path / "photographs", overwrite=True)
    assert (tmp_path / "photographs" / "one").read_text() == "mine"


@pytest.mark.tensorflow
def test_a_saved_model_takes_the_place_of_a_file(tmp_path):
    path = tmp_path / "net"
    path.write_text("old")
    kreg.export(perceptron(), path, overwrite=True)
    assert (path / "saved_model.pb").exists()


def test_failed_overwrite_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "net.keras"
    path.write_text("mine")
    monkeypatch.setattr(_export, "artefact_outputs", lambda *_: [])
    with pytest.raises(ValueError, match="differ by inf"):
        kreg.export(perceptron(), path, "keras", overwrite=True)
    assert path.read_text() == "mine"
    assert listed(tmp_path) == ["net.keras"]


def test_unregistered_class_is_named(tmp_path):
    class Mine(layers.Layer):
        def call(self, x):
            return x + 1.0

    model = keras.Sequential([keras.Input((2,)), Mine()])
    with pytest.raises(ValueError, match=r"does not run: .*'Mine'"):
        kreg.export(model, tmp_path / "net.keras", "keras")
    assert listed(tmp_path) == []


@pytest.mark.tensorflow
def test_operation_that_onnx_lacks_is_named(tmp_path):
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(2, activation="gelu")]
    )
    with pytest.raises(ValueError, match=r"ONNX lacks \(Erfc\)"):
        kreg.export(model, tmp_path / "net.onnx", "onnx")
    assert listed(tmp_path) == []


@pytest.mark.tensorflow
def test_failing_converter_tells_its_cause_in_one_line(tmp_path):
    x = keras.Input((2,))
    y = layers.Dense(2)(x)
    model = keras.Model(x, [y, {"inner": layers.Dense(1)(y)}])
    with pytest.raises(ValueError, match="cannot be written as 'tf_") as raised:
        kreg.export(model, tmp_path / "net")
    assert "ValueError: Got a non-Tensor value" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert listed(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"format": "tflite"},
            ValueError,
            "one of .*Received: format='tflite'",
        ),
        ({"path": "net.h5"}, ValueError, "must end in '.keras'"),
        ({"path": "none/net.keras"}, FileNotFoundError, "folder that exists"),
        ({"tolerance": 0.0}, ValueError, "`tolerance` must be a positive"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive"),
        ({"sample": np.ones((2, 5))}, ValueError, r"shape \(None, 6\)"),
        ({"sample": [np.ones((2, 6))] * 2}, ValueError, "structure of"),
        ({"sample": np.ones((0, 6))}, ValueError, "at least one example"),
        (
            {"sample": np.ones((2, 6)), "batch_size": 3},
            ValueError,
            "a sample of 2, batch_size=3",
        ),
        ({"model": "net"}, TypeError, "must be a `keras.Model`"),
        ({"model": keras.Sequential()}, ValueError, "must be built"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message, tmp_path):
    arguments = {
        "model": perceptron(),
        "path": "net.keras",
        "format": "keras",
        **arguments,
    }
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(error, match=message):
        kreg.export(**arguments)
    assert listed(tmp_path) == []


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    if BACKEND == "tensorflow":
        command = r"pip install 'kreg\[export\]'"
    else:
        command = r"pip install \w+ 'kreg\[export\]'"
    with pytest.raises(ImportError, match=f"run `{command}`"):
        kreg.export(perceptron(), tmp_path / "net.onnx", "onnx")


@pytest.mark.skipif(BACKEND != "jax", reason="is about JAX")
def test_format_that_jax_cannot_write_is_refused(tmp_path):
    with pytest.raises(ValueError, match="on the jax backend"):
        kreg.export(perceptron(), tmp_path / "net.tflite", "litert")


@pytest.mark.skipif(BACKEND != "torch", reason="is about torch")
def test_format_that_torch_cannot_write_is_refused(tmp_path):
    with pytest.raises(ValueError, match="on the torch backend"):
        kreg.export(perceptron(), tmp_path / "net")


def test_subclassed_model_asks_for_a_sample(tmp_path):
    model = Subclassed()
    model(np.ones((1, 3)))
    with pytest.raises(ValueError, match="`sample` is needed"):
        kreg.export(model, tmp_path / "net.keras", "keras")


def test_sample_that_the_model_cannot_take_is_told(tmp_path):
    if BACKEND == "jax":
        pytest.skip("JAX clips what lies outside a table")
    with pytest.raises(ValueError, match="`sample` must be inputs"):
        kreg.export(
            words(), tmp_path / "a.keras", "keras", sample=np.full((1, 6), 99)
        )
