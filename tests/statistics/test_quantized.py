"""Weights that Keras has quantized are read as the numbers they stand for."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from thorough import few_of

import kreg


def on_a_grid(shape, axis):
    """A weight that `"int8"` quantizes without an error, with some zeros.

    Its entries are multiples of 1/127, and the largest along `axis` is 1.
    """
    rng = np.random.default_rng(0)
    steps = rng.integers(-127, 128, size=shape)
    steps[rng.random(shape) < 0.3] = 0
    steps = np.moveaxis(steps, axis, 0)
    steps[0] = 127
    return (np.moveaxis(steps, 0, axis) / 127).astype("float32")


def dense():
    return keras.Input((6,)), layers.Dense(5), "kernel", 0


def dense_for_each_step():
    return keras.Input((3, 6)), layers.Dense(5), "kernel", 0


def einsum():
    layer = layers.EinsumDense("abc,cde->abde", (None, 2, 5), bias_axes="de")
    return keras.Input((3, 6)), layer, "kernel", 0


def einsum_of_two_axes():
    return (
        keras.Input((3, 2, 4)),
        layers.EinsumDense("abcd,cde->abe", (None, 6)),
        "kernel",
        (0, 1),
    )


def embedding():
    inputs = keras.Input((3,), dtype="int32")
    return inputs, layers.Embedding(7, 6), "embeddings", 1


def reversible_embedding():
    inputs = keras.Input((3,), dtype="int32")
    return inputs, layers.ReversibleEmbedding(7, 6), "embeddings", 1


KINDS = [
    dense,
    dense_for_each_step,
    einsum,
    einsum_of_two_axes,
    embedding,
    reversible_embedding,
]


def quantized(make, mode):
    """A quantized model of one layer, and its weight from before."""
    inputs, layer, name, axis = make()
    model = keras.Model(inputs, layer(inputs))
    shape = tuple(getattr(layer, name).shape)
    if isinstance(axis, tuple):
        weight = on_a_grid((np.prod(shape[:2]), *shape[2:]), 0).reshape(shape)
    else:
        weight = on_a_grid(shape, axis)
    getattr(layer, name).assign(weight)
    layer.quantize(mode)
    return model, weight


def read_weight(model):
    """The reading of the quantized weight, which comes before the bias."""
    return kreg.statistics.read(model).weights[0]


@pytest.mark.thorough
@pytest.mark.parametrize("make", few_of(KINDS, dense, einsum))
def test_figures_of_integers_of_eight_bits(make):
    model, w = quantized(make, "int8")
    reading = read_weight(model)
    assert reading.shape == w.shape
    assert reading.zeros == np.count_nonzero(w == 0)
    assert reading.l1_norm == pytest.approx(np.abs(w).sum(), rel=1e-5)
    assert reading.l2_norm == pytest.approx(np.linalg.norm(w), rel=1e-5)
    assert reading.max_norm == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("make", few_of(KINDS, dense))
def test_figures_of_packed_integers_of_four_bits(make):
    """Four bits span the numbers from -1 to 1 in 15 steps."""
    model, w = quantized(make, "int4")
    reading = read_weight(model)
    assert reading.shape == w.shape
    assert reading.size == w.size
    assert reading.l2_norm == pytest.approx(np.linalg.norm(w), rel=0.1)
    assert reading.max_norm == pytest.approx(1.0, abs=1 / 7)
    assert 0 < reading.sparsity < 0.6


@pytest.mark.parametrize("make", few_of(KINDS, dense, embedding))
def test_names_and_units_stay(make):
    plain = make()
    before = keras.Model(plain[0], plain[1](plain[0]))
    model, _ = quantized(make, "int8")
    first, second = read_weight(before), read_weight(model)
    assert second.weight == first.weight
    assert (second.units, second.inputs) == (first.units, first.inputs)
    assert not second.trainable


def test_readings_follow_the_weight():
    model, _ = quantized(dense, "int8")
    first = read_weight(model).l1_norm
    scale = model.layers[1].kernel_scale
    scale.assign(scale / 2)
    assert read_weight(model).l1_norm == pytest.approx(2 * first, rel=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_are_calibrated(bits):
    """The outputs for unit vectors are the rows of the kernel."""
    config = keras.quantizers.GPTQConfig(
        dataset=None, tokenizer=None, weight_bits=bits, group_size=3
    )
    layer = layers.Dense(4)
    model = keras.Sequential([keras.Input((6,)), layer])
    layer.quantize("gptq", config=config)
    rng = np.random.default_rng(0)
    stored = layer.quantized_kernel
    stored.assign(rng.integers(0, 2**bits, size=stored.shape))
    layer.kernel_scale.assign(rng.uniform(0.1, 1, layer.kernel_scale.shape))
    layer.kernel_zero.assign(rng.integers(0, 9, layer.kernel_zero.shape))
    layer.g_idx.assign([0, 0, 0, 1, 1, 1])
    layer.is_gptq_calibrated = True
    w = ops.convert_to_numpy(model(np.eye(6, dtype="float32")))
    reading = next(
        r for r in kreg.statistics.read(model).weights if not r.trainable
    )
    assert reading.shape == w.shape
    assert reading.l1_norm == pytest.approx(np.abs(w).sum(), rel=1e-5)
    assert reading.zeros == np.count_nonzero(w == 0)


def test_scales_of_eight_bit_floats_are_no_weights():
    """Keras lists them as trainable, and most of their entries are 0."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    before = kreg.statistics.read(model)
    model.layers[0].quantize("float8")
    after = kreg.statistics.read(model)
    assert [w.path for w in after.weights] == [w.path for w in before.weights]
    assert after.sparsity == before.sparsity


@pytest.mark.slow
@pytest.mark.parametrize("mode", few_of(["int8", "int4", "float8"], "int8"))
@pytest.mark.parametrize("make", few_of(KINDS, dense))
def test_operations_are_those_from_before(mode, make):
    if mode == "float8" and make in (embedding, reversible_embedding):
        pytest.skip("Keras does not quantize embeddings to float8")
    inputs, layer, *_ = make()
    before = keras.Model(inputs, layer(inputs))
    expected = kreg.deployment.deploy_report(before, runs=1).before
    model, _ = quantized(make, mode)
    report = kreg.deployment.deploy_report(model, runs=1).before
    assert report.flops == expected.flops
    assert report.uncounted == ()


@pytest.mark.thorough
@pytest.mark.parametrize("make", few_of([dense, embedding], dense))
def test_packed_parameters_are_counted_one_by_one(make):
    model, w = quantized(make, "int4")
    report = kreg.deployment.deploy_report(model, runs=1).before
    stored = [x.size for x in model.get_weights() if x.shape[0] == w.shape[0]]
    assert report.parameters >= w.size
    assert report.parameters == sum(x.size for x in model.get_weights()) + (
        w.size - max(stored)
    )
