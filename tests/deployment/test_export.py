"""What `kreg.export` writes, run without kreg."""

import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from deployment.shipped_models import (
    MODELS,
    Subclassed,
    perceptron,
    recurrent,
    with_random_weights,
)
from keras import layers
from thorough import few_of

import kreg
from kreg.deployment.formats import FORMATS

BACKEND = keras.backend.backend()
# On the backend and with the packages of this run.
WRITABLE = [
    name
    for name, known in FORMATS.items()
    if BACKEND in known.writers
    and all(
        importlib.util.find_spec(module)
        for module in (*known.writers[BACKEND], known.runner or "keras")
    )
]
# What the converters of Keras cannot do, and what the error then says.
IMPOSSIBLE = {
    ("litert", "recurrent"): "FlexTensorListReserve.*batch_size=1",
    ("litert", "half_precision"): "FlexMatMul.*float32",
    ("litert", "double_precision"): "FlexMatMul.*float32",
}
pytestmark = pytest.mark.filterwarnings(
    # TensorFlow's and torch's converters speak of themselves as they load.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
)


def place(folder, kind):
    return folder / f"net{FORMATS[kind].suffix}"


@pytest.mark.parametrize(
    "name", few_of(MODELS, "perceptron", "recurrent", "half_precision")
)
@pytest.mark.parametrize("kind", WRITABLE)
def test_artefact_gives_the_same_or_the_error_says_why(kind, name, tmp_path):
    if BACKEND != "tensorflow" and kind != "keras":
        pytest.skip("converters of other backends differ")
    if BACKEND == "jax" and name == "double_precision":
        pytest.skip("JAX computes in single precision unless told otherwise")
    model = with_random_weights(MODELS[name]())
    path = place(tmp_path, kind)
    if (kind, name) in IMPOSSIBLE:
        with pytest.raises(ValueError, match=IMPOSSIBLE[kind, name]):
            kreg.export(model, path, kind)
        assert list(tmp_path.iterdir()) == []
        return
    record = kreg.export(model, path, kind)
    tolerance = 1e-2 if name == "half_precision" else 1e-4
    assert record.largest_difference <= tolerance
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", WRITABLE)
def test_artefact_of_one_dense_layer_computes_x_w_plus_b(kind, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((3,), name="x"),
            layers.Dense(2, kernel_regularizer=kreg.L1()),
        ]
    )
    w, b = np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([7.0, 8])
    model.set_weights([w, b])
    x = np.array([[1.0, -1, 0.5]], "float32")
    path = place(tmp_path, kind)
    kreg.export(model, path, kind)
    if kind == "tf_saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))
        found = loaded.serve(tf.constant(x)).numpy()
    elif kind == "litert":
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(str(path)).get_signature_runner()
        (name,) = run.get_input_details()
        (found,) = run(**{name: x}).values()
    elif kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
    else:
        found = keras.saving.load_model(path).predict(x, verbose=0)
    np.testing.assert_allclose(found, x @ w + b, rtol=1e-6)


@pytest.mark.slow
def test_keras_file_loads_where_kreg_is_not(tmp_path):
    model = with_random_weights(perceptron())
    model.compile(kreg.ProximalOptimizer("adam"), "mse")
    kreg.bind(model)
    model.fit(np.ones((4, 6)), np.ones((4, 3)), verbose=0)
    path = tmp_path / "net.keras"
    kreg.export(model, path, "keras")
    code = (
        "import sys; sys.modules['kreg'] = None\n"
        "import json, keras, numpy\n"
        f"model = keras.saving.load_model({str(path)!r})\n"
        "y = model.predict(numpy.ones((1, 6)), verbose=0)\n"
        "print(json.dumps(y.tolist()))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    np.testing.assert_allclose(
        json.loads(printed.splitlines()[-1]),
        model.predict(np.ones((1, 6)), verbose=0),
        rtol=1e-6,
    )


def test_model_stays_as_it_is(tmp_path):
    model = with_random_weights(perceptron())
    model.compile(kreg.ProximalOptimizer("adam"), "mse")
    kreg.bind(model)
    before = model.get_weights(), model.get_config(), model.optimizer
    kreg.export(model, tmp_path / "net.keras", "keras", compact=True)
    assert isinstance(model.layers[0].kernel_regularizer, kreg.L1)
    assert model.optimizer is before[2]
    assert model.get_config() == before[1]
    for w, kept in zip(model.get_weights(), before[0], strict=True):
        np.testing.assert_array_equal(w, kept)


def test_compact_artefact_has_only_the_units_that_live(tmp_path):
    model = with_random_weights(perceptron())
    hidden = model.layers[0]
    kernel, bias = hidden.get_weights()
    kernel[:, ::2] = 0.0
    hidden.set_weights([kernel, bias])
    path = tmp_path / "net.keras"
    record = kreg.export(model, path, "keras", compact=True)
    small = keras.saving.load_model(path)
    assert [w.shape for w in small.weights] == [(6, 4), (4,), (4, 3), (3,)]
    assert record.largest_difference < 1e-5


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_fixed_batch_makes_a_recurrent_model_run_on_litert(tmp_path):
    model = with_random_weights(recurrent())
    path = tmp_path / "net.tflite"
    record = kreg.export(model, path, "litert", batch_size=1)
    assert record.largest_difference < 1e-4


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", WRITABLE)
def test_subclassed_model_is_exported_with_a_sample(kind, tmp_path):
    model = Subclassed()
    x = np.linspace(0, 1, 12).reshape(2, 6)
    model(x)
    record = kreg.export(model, place(tmp_path, kind), kind, sample=x)
    assert record.largest_difference < 1e-5


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", ["litert", "onnx"])
def test_names_that_tensorflow_changes_still_find_their_inputs(kind, tmp_path):
    first = keras.Input((3,), name="the-z")
    second = keras.Input((3,), name="an.a-z")
    model = keras.Model([first, second], layers.Dense(1)(first - 2 * second))
    record = kreg.export(model, place(tmp_path, kind), kind)
    assert record.largest_difference < 1e-5


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", ["litert", "onnx"])
def test_twelve_outputs_keep_their_order(kind, tmp_path):
    x = keras.Input((3,))
    model = keras.Model(x, [layers.Dense(2)(x) for _ in range(12)])
    record = kreg.export(model, place(tmp_path, kind), kind)
    assert record.largest_difference < 1e-5


@pytest.mark.tensorflow
def test_options_reach_keras(tmp_path):
    import onnx

    path = tmp_path / "net.onnx"
    kreg.export(perceptron(), path, "onnx", opset_version=17)
    assert onnx.load(path).opset_import[0].version == 17


@pytest.mark.parametrize("kind", WRITABLE)
def test_record_tells_path_format_and_bytes(kind, tmp_path):
    path = place(tmp_path, kind)
    record = kreg.export(perceptron(), str(path), kind)
    files = [path] if path.is_file() else path.rglob("*")
    assert record.path == path
    assert record.format == kind
    assert record.bytes == sum(
        len(file.read_bytes()) for file in files if file.is_file()
    )
    assert record.seconds > 0
