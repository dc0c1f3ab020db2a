"""Models that no config makes anew: `kreg.export` writes them as they are."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from deployment.test_export import BACKEND, WRITABLE, place
from keras import layers, ops
from thorough import few_of

import kreg
from kreg._keras_private import flatten_layers
from kreg.surgery.support import KeepSupport

X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
pytestmark = pytest.mark.filterwarnings(
    # TensorFlow's and torch's converters speak of themselves as they load.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
)


def dense(units, strength=1e-3, **kwargs):
    return layers.Dense(units, kernel_regularizer=kreg.L1(strength), **kwargs)


class WithoutConfig(keras.Model):
    """As in most public examples: no `get_config`, and odd arguments."""

    def __init__(self, part):
        super().__init__()
        self.part, self.odd, self.last = part, object(), dense(2)

    def call(self, x):
        return self.last(self.part(x))


class RefusesConfig(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = dense(2, activity_regularizer=kreg.L1(0.1))

    def call(self, x):
        return self.last(x)

    def get_config(self):
        raise NotImplementedError


class Scale(layers.Layer):
    """Its config lacks the argument that it was made with."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def build(self, shape):
        self.gain = self.add_weight(
            shape=shape[-1:], initializer="ones", regularizer=kreg.L2(0.1)
        )

    def call(self, x):
        return x * self.gain * self.factor


class OtherWeights(layers.Layer):
    """Makes more weights when it is made anew."""

    made = 0

    def build(self, shape):
        OtherWeights.made += 1
        self.gains = [
            self.add_weight(shape=shape[-1:], regularizer=kreg.L2(0.1))
            for _ in range(OtherWeights.made)
        ]

    def call(self, x):
        return x + sum(self.gains)


class Noisy(layers.Layer):
    """Random in inference, too, as the sampling of a VAE."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seed)


def sequential(*parts):
    return keras.Sequential([keras.Input((6,)), *parts])


def module_lambda():
    return layers.Lambda(lambda t: ops.flip(t, -1), output_shape=(6,))


MODELS = {
    "subclass without a config": lambda: WithoutConfig(sequential(dense(3))),
    "subclass that refuses one": RefusesConfig,
    "functional in a subclass": lambda: WithoutConfig(
        keras.Model(i := keras.Input((6,)), dense(4)(module_lambda()(i)))
    ),
    "lambda with a global": lambda: sequential(module_lambda(), dense(3)),
    "layer without an argument": lambda: sequential(Scale(3.0), dense(2)),
    "layer with other weights": lambda: sequential(OtherWeights(), dense(2)),
}
# Their state goes on with each call.
WITH_STATE = {
    "random": lambda: sequential(Noisy(), dense(2)),
    "remembering": lambda: keras.Sequential(
        [
            keras.Input(batch_shape=(4, 6)),
            layers.Reshape((3, 2)),
            layers.LSTM(
                3, stateful=True, unroll=True, kernel_regularizer=kreg.L1()
            ),
        ]
    ),
}


def trained(make):
    """A model whose state is rich: compiled, bound, trained and frozen."""
    keras.utils.set_random_seed(0)
    model = make()
    y = ops.zeros_like(model(X))
    model.compile(kreg.ProximalOptimizer(keras.optimizers.Adam(0.01)), "mse")
    kreg.bind(model)
    model.fit(X, y, batch_size=4, verbose=0)
    return model


def state_of(model):
    """What a user could see of a model; objects by identity."""
    variables = [*model.variables, *model.optimizer.variables]
    attributes = [
        (name, id(value))
        for layer in flatten_layers(model)
        for name, value in sorted(vars(layer).items())
        if name.endswith(("regularizer", "constraint", "optimizer"))
        or name in ("compiled", "train_step", "training")
    ]
    attributes.append(("train_function", id(model.train_function)))
    return (
        [(id(v.regularizer), id(v.constraint)) for v in model.weights],
        attributes,
        [ops.convert_to_numpy(v).tolist() for v in variables],
    )


@pytest.mark.thorough
@pytest.mark.parametrize("name", few_of(MODELS, *list(MODELS)[:1]))
@pytest.mark.parametrize("kind", [k for k in WRITABLE if k != "keras"])
def test_written_as_it_is_and_unchanged(kind, name, tmp_path):
    model = trained(MODELS[name])
    kreg.freeze_support(model)
    before = state_of(model)
    path = place(tmp_path, kind)
    sample = X[:1] if (BACKEND, kind) == ("torch", "litert") else X
    record = kreg.export(model, path, kind, sample=sample)
    assert record.largest_difference < 1e-5
    assert state_of(model) == before
    assert any(isinstance(v.constraint, KeepSupport) for v in model.weights)


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", WITH_STATE)
def test_state_at_the_export_is_what_is_written(name, tmp_path):
    model = trained(WITH_STATE[name])
    before = state_of(model)
    record = kreg.export(model, tmp_path / "net", sample=X)
    assert record.largest_difference < 1e-5
    assert state_of(model) == before


@pytest.mark.parametrize(
    "error", few_of([OSError, KeyboardInterrupt], KeyboardInterrupt)
)
@pytest.mark.parametrize("kind", ["keras", *WRITABLE[:1]])
def test_model_is_unchanged_when_writing_fails(
    kind, error, tmp_path, monkeypatch
):
    model = trained(lambda: sequential(dense(3), dense(2)))
    kreg.freeze_support(model)
    before = state_of(model)

    def fail(self, *args, **kwargs):
        assert all(v.regularizer is None for v in self.weights)
        raise error

    monkeypatch.setattr(keras.Model, "save", fail)
    monkeypatch.setattr(keras.Model, "export", fail)
    with pytest.raises(ValueError if error is OSError else error):
        kreg.export(model, place(tmp_path, kind), kind)
    assert state_of(model) == before
    assert list(tmp_path.iterdir()) == []


def test_model_is_unchanged_when_setting_aside_is_interrupted(
    tmp_path, monkeypatch
):
    model = trained(lambda: sequential(dense(3), dense(2)))
    before = state_of(model)
    changed = []

    def set_and_interrupt(self, regularizer):
        self._regularizer = regularizer
        changed.append(self)
        if len(changed) == 2:
            raise KeyboardInterrupt

    cls = next(
        c for c in type(model.weights[0]).__mro__ if "regularizer" in vars(c)
    )
    monkeypatch.setattr(
        cls, "regularizer", cls.regularizer.setter(set_and_interrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        kreg.export(model, tmp_path / "net.keras", "keras")
    assert len(changed) > 2
    assert state_of(model) == before


def test_keras_file_of_a_compiled_model_is_not_compiled(tmp_path):
    inner = sequential(dense(3, name="inner"))
    inner.compile(kreg.ProximalOptimizer("sgd"), "mse")
    model = trained(lambda: sequential(inner, dense(2)))
    path = tmp_path / "net.keras"
    kreg.export(model, path, "keras")
    assert model.compiled
    assert inner.compiled
    loaded = keras.saving.load_model(path)
    assert not loaded.compiled
    assert not loaded.layers[0].compiled


def test_lookups_keep_their_vocabulary_in_a_keras_file(tmp_path):
    if BACKEND != "tensorflow":
        pytest.skip("lookups run on TensorFlow")
    words = layers.TextVectorization(output_mode="count")
    words.adapt(["a rose is a rose", "a dog"])
    model = keras.Sequential([keras.Input((), dtype="string"), words, dense(2)])
    sample = np.array(["a dog is a rose", "rose"])
    path = tmp_path / "net.keras"
    record = kreg.export(model, path, "keras", sample=sample)
    assert record.largest_difference == 0.0


def test_compact_reuses_a_lambda(tmp_path):
    model = trained(lambda: sequential(module_lambda(), dense(4), dense(2)))
    kernel, bias = model.layers[1].get_weights()
    kernel[:, 1:] = 0.0
    model.layers[1].set_weights([kernel, bias])
    kind = WRITABLE[0]
    if kind == "keras":
        pytest.skip("Keras does not load lambdas")
    path = place(tmp_path, kind)
    record = kreg.export(model, path, kind, compact=True, sample=X)
    assert record.largest_difference < 1e-5


@pytest.mark.slow
@pytest.mark.tensorflow
def test_artefacts_run_where_kreg_is_not(tmp_path):
    model = trained(MODELS["subclass without a config"])
    for kind in ("tf_saved_model", "onnx", "litert"):
        kreg.export(model, place(tmp_path, kind), kind, sample=X)
    code = (
        "import sys; sys.modules['kreg'] = None\n"
        "import numpy, onnxruntime, tensorflow as tf\n"
        "from ai_edge_litert.interpreter import Interpreter\n"
        "x = numpy.ones((1, 6), 'float32')\n"
        "loaded = tf.saved_model.load('net')\n"
        "print(loaded.serve(x).numpy().tolist())\n"
        "run = onnxruntime.InferenceSession('net.onnx')\n"
        "print(run.run(None, {run.get_inputs()[0].name: x})[0].tolist())\n"
        "run = Interpreter('net.tflite').get_signature_runner()\n"
        "print(*[y.tolist() for y in run(**dict.fromkeys("
        "run.get_input_details(), x)).values()])\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout.splitlines()
    expected = ops.convert_to_numpy(model(np.ones((1, 6), "float32")))
    for line in printed[-3:]:
        np.testing.assert_allclose(eval(line), expected, rtol=1e-5)
