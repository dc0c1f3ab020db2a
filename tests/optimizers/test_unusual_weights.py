"""Weights of unusual shapes and dtypes, under every optimizer and penalty."""

import keras
import numpy as np
import pytest
from keras import ops, optimizers
from thorough import few_of

import kreg

OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.5),
    "Adam": lambda: optimizers.Adam(0.05),
    "amsgrad": lambda: optimizers.Adam(0.05, amsgrad=True),
    "AdamW": lambda: optimizers.AdamW(0.05),
    "Nadam": lambda: optimizers.Nadam(0.05),
    "Adamax": lambda: optimizers.Adamax(0.05),
    "RMSprop": lambda: optimizers.RMSprop(0.05),
    "centered": lambda: optimizers.RMSprop(0.05, centered=True),
    "Adagrad": lambda: optimizers.Adagrad(0.05),
    "Adadelta": lambda: optimizers.Adadelta(0.5),
    "clipped": lambda: optimizers.Adam(0.05, clipvalue=0.01),
    "averaged": lambda: optimizers.Adam(0.05, use_ema=True),
}
PENALTIES = {
    "L1": lambda: kreg.L1(0.1),
    "factors": lambda: kreg.L1(0.1, factors=2.0),
    "L2": lambda: kreg.L2(0.1),
    "L1L2": lambda: kreg.L1L2(0.1, 0.1),
    "MCP": lambda: kreg.MCP(0.1, 30.0),
    "SCAD": lambda: kreg.SCAD(0.1, 30.0),
    "GroupLasso": lambda: kreg.GroupLasso(0.1, groups=()),
    "SparseGroupLasso": lambda: kreg.SparseGroupLasso(0.1, 0.1, groups=()),
}


class Own(keras.layers.Layer):
    """Adds the sum of a weight of any shape and dtype to its inputs."""

    def __init__(self, shape, penalty, weight_dtype="float32"):
        super().__init__()
        self.weight_shape = shape
        self.penalty = penalty
        self.weight_dtype = weight_dtype

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=self.weight_shape,
            initializer="ones",
            dtype=self.weight_dtype,
            regularizer=self.penalty,
            name="w",
        )

    def call(self, inputs):
        w = ops.convert_to_tensor(self.w)
        if "complex" in self.weight_dtype:
            w = ops.real(w) + 2.0 * ops.imag(w)
        return inputs + ops.sum(ops.cast(w, "float32"))


def trained(optimizer, penalty, shape, **options):
    """The weight after three steps, and its reading."""
    layer = Own(shape, penalty, **options)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(kreg.ProximalOptimizer(optimizer), "mse")
    kreg.bind(model)
    x = np.linspace(-1, 1, 12, dtype="float32").reshape(12, 1)
    model.fit(x, x, batch_size=4, epochs=1, shuffle=False, verbose=0)
    return ops.convert_to_numpy(layer.w), kreg.statistics.read(model)


def assert_scalar_is_like_one_entry(optimizer, penalty):
    scalar, reading = trained(OPTIMIZERS[optimizer](), PENALTIES[penalty](), ())
    one, expected = trained(OPTIMIZERS[optimizer](), PENALTIES[penalty](), (1,))
    assert scalar.shape == ()
    assert scalar != 1.0
    np.testing.assert_allclose(scalar, one[0], rtol=1e-6)
    for figure in ("l1_norm", "l2_norm", "penalty", "sparsity"):
        assert getattr(reading, figure) == pytest.approx(
            getattr(expected, figure), rel=1e-5
        )


@pytest.mark.parametrize("optimizer", few_of(list(OPTIMIZERS), "Adam"))
def test_scalar_weight_under_each_optimizer(optimizer):
    assert_scalar_is_like_one_entry(optimizer, "L1")


@pytest.mark.thorough
@pytest.mark.parametrize("penalty", few_of(list(PENALTIES), "GroupLasso"))
def test_scalar_weight_with_each_penalty(penalty):
    assert_scalar_is_like_one_entry("Adam", penalty)


@pytest.mark.parametrize("shape", few_of([(0,), (3, 0), (0, 2)], (3, 0)))
@pytest.mark.parametrize("penalty", few_of(list(PENALTIES), "L1"))
def test_weight_without_entries(shape, penalty):
    w, reading = trained(optimizers.Adam(0.05), PENALTIES[penalty](), shape)
    assert w.shape == shape
    assert reading.penalty == 0.0
    assert reading.sparsity == 0.0
    assert reading.max_norm == 0.0


def test_weight_of_bfloat16():
    w, reading = trained(
        optimizers.SGD(0.5), kreg.L1(8.0), (2,), weight_dtype="bfloat16"
    )
    assert not w.astype("float32").any()
    assert reading.sparsity == 1.0


CLIPPED = {
    "SGD": lambda: optimizers.SGD(0.1, momentum=0.9, clipnorm=0.5),
    "Adam": lambda: optimizers.Adam(0.1, clipvalue=0.5),
    "centered": lambda: optimizers.RMSprop(
        0.1, momentum=0.9, centered=True, epsilon=1e-2, clipnorm=0.5
    ),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("optimizer", few_of(list(CLIPPED), "centered"))
def test_clipping_of_half_precision(optimizer, dtype):
    """A weak penalty ends near what there is without one."""
    w, free = (
        trained(CLIPPED[optimizer](), penalty, (2,), weight_dtype=dtype)[0]
        for penalty in (kreg.L1(0.01), kreg.L1(0.0))
    )
    w, free = w.astype("float32"), free.astype("float32")
    np.testing.assert_allclose(w, free, atol=0.02)


COMPLEX = np.array([[1 + 2j, 0], [3j, -4], [0, 0.1j]], "complex64")


@pytest.mark.parametrize(
    "penalty",
    [
        *PENALTIES.values(),
        lambda: kreg.GroupLasso(0.1, groups=(0,)),
        lambda: kreg.SparseGroupLasso(0.1, 0.2, groups=(1,)),
    ],
)
def test_penalty_of_complex_numbers_is_that_of_their_moduli(penalty):
    made = penalty()
    value = made(ops.convert_to_tensor(COMPLEX))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    expected = made(ops.convert_to_tensor(np.abs(COMPLEX)))
    assert float(value) == pytest.approx(float(expected), rel=1e-6)


def complex_model(penalty, optimizer):
    layer = Own(COMPLEX.shape, penalty, weight_dtype="complex64")
    model = keras.Sequential([keras.Input((1,)), layer])
    layer.w.assign(COMPLEX)
    model.compile(optimizer, "mse")
    return model, layer


@pytest.mark.parametrize("penalty", [None, kreg.L1(0.5)], ids=repr)
def test_figures_of_complex_numbers_are_those_of_their_moduli(penalty):
    model, _ = complex_model(penalty, "sgd")
    size = np.abs(COMPLEX)
    for reading in (kreg.statistics.read(model) for _ in range(2)):
        assert reading.zeros == 2
        assert reading.l1_norm == pytest.approx(size.sum(), rel=1e-6)
        assert reading.l2_norm == pytest.approx(np.linalg.norm(size), rel=1e-6)
        assert reading.max_norm == pytest.approx(4.0, rel=1e-6)
        assert reading.penalty == pytest.approx(
            0.5 * size.sum() if penalty else 0.0, rel=1e-6
        )


def test_complex_weight_has_no_proximal_step():
    model, layer = complex_model(kreg.L1(0.1), kreg.ProximalOptimizer("sgd"))
    kreg.bind(model)
    with pytest.raises(TypeError, match=r"must be on a real weight.*complex64"):
        model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
    if keras.backend.backend() != "jax":  # where Keras loses the weights
        np.testing.assert_array_equal(ops.convert_to_numpy(layer.w), COMPLEX)


def test_complex_weight_without_a_penalty_is_left_to_the_inner_optimizer():
    model, layer = complex_model(None, kreg.ProximalOptimizer("sgd"))
    model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
    assert ops.convert_to_numpy(layer.w).imag.any()


def test_scheduled_refuses_complex_numbers():
    penalty = kreg.Scheduled(keras.regularizers.L1(0.1), 0.5)
    with pytest.raises(TypeError, match="`Scheduled` takes real weights"):
        penalty(ops.convert_to_tensor(COMPLEX))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32"])
def test_penalty_of_integers(dtype):
    w = np.array([0, 1, 3]).astype(dtype)
    value = kreg.L1(0.5)(ops.convert_to_tensor(w))
    assert float(value) == pytest.approx(0.5 * w.astype("float32").sum())
