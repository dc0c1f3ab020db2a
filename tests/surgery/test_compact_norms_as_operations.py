"""Normalizations that become operations which know the constant channels."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery import handmade
from surgery.handmade import (
    PRECISIONS,
    entry,
    filled,
    in_precision,
    x_of,
)
from surgery.random_weights import largest_difference, outputs
from thorough import few_of

import kreg

DEAD = [0, 3, 5, 6]


def residual(norm, shape=(5, 4), **settings):
    """A residual stream of 8 channels, of which one branch reads a norm."""
    x = layers.Dense(8, name="before", **settings)(inputs := keras.Input(shape))
    y = layers.Dense(6, "relu", name="up")(norm(x))
    x = layers.Add()([x, layers.Dense(8, name="down")(y)])
    return filled(keras.Model(inputs, layers.Dense(3, name="logits")(x)))


def dead_writers(model, *, biases):
    """Nothing writes half of the channels, but perhaps constants."""
    for name in ("before", "down"):
        kernel, bias = model.get_layer(name).get_weights()
        kernel[:, DEAD] = 0.0
        bias[DEAD] = biases
        model.get_layer(name).set_weights([kernel, bias])
    return model


compacted = functools.partial(handmade.compacted, norms_as_operations=True)


def layer_norm(**options):
    return lambda: layers.LayerNormalization(name="norm", **options)


NORMS = {
    "layer": layer_norm(),
    "layer_epsilon": layer_norm(epsilon=0.5),
    "without_scale": layer_norm(scale=False),
    "without_center": layer_norm(center=False),
    "without_both": layer_norm(scale=False, center=False),
    "list_of_axes": layer_norm(axis=[-1]),
    "last_axis": layer_norm(axis=2),
    "frozen": layer_norm(trainable=False),
    "rms_scaling": layer_norm(rms_scaling=True),
    "rms": lambda: layers.RMSNormalization(name="norm"),
    "unit": lambda: layers.UnitNormalization(name="norm"),
}


# Keras warns that `rms_scaling` is deprecated.
@pytest.mark.filterwarnings("ignore:You passed")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", few_of(NORMS, "layer"))
@pytest.mark.parametrize("biases", [0.0, [1.0, -2.0, 0.5, 3.0]])
def test_constant_channels_go(name, biases, precision, tmp_path):
    in_precision(precision[0])
    model = dead_writers(residual(NORMS[name]()), biases=biases)
    small, record = compacted(model, x_of(7, 5, 4), precision[1], tmp_path)
    assert small.get_layer("before").units == 4
    assert small.get_layer("down").units == 4
    assert small.count_params() == record.parameters_after
    assert small.get_layer("norm").trainable is (name != "frozen")


def expected_norm(x, layer):
    """Layer normalization of all channels, in NumPy."""
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    y = (x - mean) / np.sqrt(variance + layer.epsilon)
    gamma, beta = layer.get_weights()
    return y * gamma + beta


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_the_outputs_are_those_over_all_channels(size):
    norm = layers.LayerNormalization(name="norm")
    inputs = keras.Input((4,))
    x = layers.Dense(8, name="before")(inputs)
    model = filled(keras.Model(inputs, norm(x)))
    kernel, bias = model.layers[1].get_weights()
    kernel[:, DEAD], bias[DEAD] = 0.0, np.array([1.0, 1.1, 0.9, 1.2]) * size
    model.layers[1].set_weights([kernel, bias + size])
    x = x_of(50, 4)
    small = kreg.compact(model, norms_as_operations=True)
    (before,) = outputs(model.layers[1], x)
    wanted = expected_norm(before, norm)
    error, stock = (
        np.abs(outputs(m, x)[0] - wanted).max() for m in (small, model)
    )
    assert error <= 2 * stock + 1e-6
    assert small.layers[1].units == 4


@pytest.mark.parametrize(
    "shape", few_of([(4,), (5, 4), (3, 5, 4), (None, 4)], (4,), (None, 4))
)
def test_tensors_of_any_rank(shape, tmp_path):
    model = dead_writers(residual(NORMS["layer"](), shape), biases=0.5)
    x = x_of(7, *(6 if n is None else n for n in shape))
    small, _ = compacted(model, x, 1e-5, tmp_path)
    assert small.get_layer("before").units == 4


def test_outputs_that_nothing_reads_go(tmp_path):
    norm = layers.LayerNormalization(name="norm")
    model = dead_writers(residual(norm), biases=0.5)
    gamma, beta = norm.get_weights()
    gamma[0] = 0.0  # a constant, for the bias of what reads it
    norm.set_weights([gamma, beta])
    kernel, bias = model.get_layer("up").get_weights()
    kernel[[3, 5]] = 0.0
    model.get_layer("up").set_weights([kernel, bias])
    small, record = compacted(model, x_of(7, 5, 4), 1e-5, tmp_path)
    assert small.get_layer("up").kernel.shape == (5, 6)
    assert entry(record, "norm").parameters_after == 10
    assert entry(record, "norm").way == "operations that know its constants"


def test_without_the_request_channels_stay_and_it_is_named():
    model = dead_writers(residual(NORMS["layer"]()), biases=0.5)
    small, record = kreg.compact(model, return_compaction=True)
    assert small.get_layer("before").units == 8
    assert "norms_as_operations=True" in entry(record, "before").reasons


def test_a_norm_without_constant_channels_stays():
    model = residual(NORMS["layer"]())
    small = kreg.compact(model, norms_as_operations=True)
    assert isinstance(small.get_layer("norm"), layers.LayerNormalization)


def test_half_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model = dead_writers(residual(NORMS["layer"]()), biases=0.5)
    small, _ = compacted(model, x_of(7, 5, 4), 2e-2, tmp_path)
    assert small.get_layer("before").units == 4
    assert small.get_layer("norm").output.dtype == "float16"
    assert {v.dtype for v in small.variables} == {"float32"}


def test_a_norm_that_is_called_twice(tmp_path):
    norm = NORMS["layer"]()
    inputs = keras.Input((5, 4))
    before = layers.Dense(8, name="before")
    x, y = (norm(before(z)) for z in (inputs, ops.tanh(inputs)))
    model = filled(keras.Model(inputs, layers.Dense(3)(x + y)))
    kernel, bias = before.get_weights()
    kernel[:, DEAD] = 0.0
    before.set_weights([kernel, bias])
    small, _ = compacted(model, x_of(7, 5, 4), 1e-5, tmp_path)
    assert small.get_layer("before").units == 4


def test_a_sequential_model_stays_one(tmp_path):
    norm = NORMS["layer"]()
    model = filled(
        keras.Sequential(
            [keras.Input((4,)), layers.Dense(8, name="before"), norm]
        )
    )
    kernel, bias = model.layers[0].get_weights()
    kernel[:, DEAD] = 0.0
    model.layers[0].set_weights([kernel, bias])
    small, _ = compacted(model, x_of(7, 4), 1e-5, tmp_path)
    assert type(small) is keras.Sequential
    assert small.layers[0].units == 4


def test_a_norm_that_passes_on_a_mask_stays(tmp_path):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 8, mask_zero=True, name="before")(inputs)
    y = layers.LayerNormalization(name="norm")(x)
    y = layers.MultiHeadAttention(2, 4)(y, y)
    model = filled(keras.Model(inputs, layers.Dense(3)(y)))
    table = np.array(model.get_layer("before").embeddings)
    table[:, DEAD] = 0.0
    model.get_layer("before").embeddings.assign(table)
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    small, record = compacted(model, x, 1e-5, tmp_path)
    assert small.get_layer("before").output_dim == 8
    assert "mask" in entry(record, "norm").stays


@keras.saving.register_keras_serializable(package="norms")
class Block(layers.Layer):
    """A layer of one's own whose width is an argument."""

    def __init__(self, dim, **options):
        super().__init__(**options)
        self.dim = dim
        self.norm = layers.LayerNormalization(name="norm")
        self.up = layers.Dense(6, "relu", name="up")
        self.down = layers.Dense(dim, name="down")

    def build(self, shape):
        self.norm.build(shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 6))
        self.built = True

    def call(self, x):
        return x + self.down(self.up(self.norm(x)))

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}


def test_a_norm_inside_a_layer_of_ones_own(tmp_path):
    # A narrower norm by the config of the layer would compute another mean.
    inputs = keras.Input((5, 4))
    x = layers.Dense(8, name="before")(inputs)
    block = Block(8)
    model = filled(keras.Model(inputs, layers.Dense(3)(block(x))))
    for layer in (model.get_layer("before"), block.down):
        kernel, bias = layer.get_weights()
        kernel[:, DEAD] = 0.0
        layer.set_weights([kernel, bias])
    small, record = compacted(model, x_of(7, 5, 4), 1e-5, tmp_path)
    assert small.get_layer("before").units == 4
    assert entry(record, "norm").way == "operations that know its constants"


def test_it_trains():
    model = dead_writers(residual(NORMS["layer"]()), biases=0.5)
    small = kreg.compact(model, norms_as_operations=True)
    small.compile("sgd", "mse")
    before = [np.array(w) for w in small.get_layer("norm").get_weights()]
    small.fit(x_of(8, 5, 4), x_of(8, 5, 3), verbose=0)
    after = small.get_layer("norm").get_weights()
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_it_is_compacted_again(tmp_path):
    model = dead_writers(residual(NORMS["layer"]()), biases=0.5)
    small = kreg.compact(model, norms_as_operations=True)
    kernel, bias = small.get_layer("up").get_weights()
    kernel[:, :2] = 0.0
    small.get_layer("up").set_weights([kernel, bias])
    again, _ = compacted(small, x_of(7, 5, 4), 1e-5, tmp_path)
    assert again.get_layer("up").units == 4


def own_rms(x):
    """Root mean square normalization, written with operations."""
    square = ops.mean(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(square + 1e-3)


def own_layer_norm(x):
    x = x - ops.mean(x, axis=-1, keepdims=True)
    return own_rms(x)


def own_norm_of_sums(x):
    return x / ops.sqrt(ops.sum(x * x, -1, keepdims=True) + 1.0)


# A channel from which a mean is subtracted varies, and stays.
OWN = {own_rms: 4, own_norm_of_sums: 4, own_layer_norm: 8}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("norm", few_of(OWN, own_rms))
@pytest.mark.parametrize("biases", [0.0, [1.0, -2.0, 0.5, 3.0]])
def test_norms_of_ones_own_in_a_functional_model(
    norm, biases, precision, tmp_path
):
    # It needs no request: only sums become others.
    in_precision(precision[0])
    model = dead_writers(residual(norm), biases=biases)
    kernel, bias = model.get_layer("up").get_weights()
    kernel[DEAD] = 0.0
    model.get_layer("up").set_weights([kernel, bias])
    small = kreg.compact(model)
    x = x_of(7, 5, 4)
    small.save(tmp_path / "small.keras")
    for made in (small, keras.models.load_model(tmp_path / "small.keras")):
        difference = largest_difference(outputs(made, x), outputs(model, x))
        assert difference <= precision[1]
    assert small.get_layer("before").units == OWN[norm]


def test_a_norm_without_weights_that_is_called_on_other_constants(tmp_path):
    norm = layers.UnitNormalization()
    inputs = keras.Input((4,))
    parts = [layers.Dense(8, name=name) for name in ("one", "other")]
    x, y = (norm(part(inputs)) for part in parts)
    model = filled(keras.Model(inputs, layers.Dense(3)(x * y)))
    for part in parts:
        kernel, bias = part.get_weights()
        kernel[:, DEAD] = 0.0
        part.set_weights([kernel, bias])
    compacted(model, x_of(7, 4), 1e-5, tmp_path)
