"""Weights with dead units and unread inputs, in plain NumPy.

`randomize` draws every weight anew, statistics of normalizations included, and
then zeroes what no reader of the model may see: half of the units lose their
incoming weights, a quarter of the units is not read by the layers after them.
Aligned, the same units of eight die everywhere, so what is removable is known
beforehand: a quarter of every width must be left. Scattered, each layer loses
units of its own.
"""

import keras
import numpy as np
from keras import layers

EIGHT = np.random.default_rng(7).permutation(8)
TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
RECURRENT = (layers.SimpleRNN, layers.LSTM, layers.GRU)
KERNELS = ("kernel", "recurrent_kernel", "pointwise_kernel", "embeddings")


def every_layer(layer):
    """Yields the layers inside, innermost first, and the layer itself."""
    inside = list(getattr(layer, "layers", None) or [])
    for attribute in ("layer", "forward_layer", "backward_layer"):
        inside += [getattr(layer, attribute, None)]
    for child in inside:
        if isinstance(child, keras.Layer):
            yield from every_layer(child)
    yield layer


def randomize(model, *, seed=0, aligned=True):
    """Draws all weights of the model; half of each layer's units are dead."""
    rng = np.random.default_rng(seed)
    seen = set()
    for layer in every_layer(model):
        for variable in layer.weights:
            if id(variable) in seen or "float" not in variable.dtype:
                continue
            seen.add(id(variable))
            variable.assign(drawn(layer, variable, rng, aligned))


def calibrate(model, x, seed=0):
    """Gives normalizations statistics near those of x: signals stay alive."""
    rng = np.random.default_rng(seed)
    normalizations = [
        layer
        for layer in every_layer(model)
        if isinstance(layer, layers.BatchNormalization)
    ]
    for layer in normalizations:
        layer.momentum = 0.0
    model(x, training=True)
    for layer in normalizations:
        layer.momentum = 0.99
        variance = keras.ops.convert_to_numpy(layer.moving_variance)
        variance = np.maximum(variance, 0.0)  # rounding may go below
        mean = keras.ops.convert_to_numpy(layer.moving_mean)
        layer.moving_variance.assign(
            variance * rng.uniform(0.5, 2.0, variance.shape) + 0.05
        )
        layer.moving_mean.assign(
            mean + np.sqrt(variance) * rng.normal(size=mean.shape)
        )


def drawn(layer, variable, rng, aligned):
    name, shape = variable.path.rsplit("/")[-1], tuple(variable.shape)
    if name in ("moving_variance", "variance"):
        return rng.uniform(0.5, 2.0, shape)
    if name == "gamma":
        return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)
    w = rng.normal(size=shape)
    if name == "depthwise_kernel" or isinstance(layer, DEPTHWISE):
        return depthwise(w, rng, aligned) if w.ndim > 1 else 0.5 * w
    if name in KERNELS and w.ndim > 1:
        axes = (-2, -1) if isinstance(layer, TRANSPOSED) else (-1, -2)
        return kernel(w, *axes, rng, aligned, rows=name != "embeddings")
    if name == "bias" and isinstance(layer, RECURRENT):
        # Without a bias a dead recurrent unit stays at its first state, 0.
        w[..., dead(shape[-1], rng, aligned)] = 0.0
    return 0.5 * w


def kernel(w, units, inputs, rng, aligned, rows):
    w = w * 2.0 / np.sqrt(w.size / w.shape[units])
    at = np.moveaxis(w, (inputs, units), (-2, -1))
    at[..., dead(w.shape[units], rng, aligned)] = 0.0
    if rows:
        at[..., unread(w.shape[inputs], rng, aligned), :] = 0.0
    return w


def depthwise(w, rng, aligned):
    w = w * 2.0 / np.sqrt(np.prod(w.shape[:-2]))
    flat = w.reshape(*w.shape[:-2], -1)
    flat[..., dead(flat.shape[-1], rng, aligned)] = 0.0
    return flat.reshape(w.shape)


def dead(size, rng, aligned):
    return order(size, rng, aligned)[: size // 2]


def unread(size, rng, aligned):
    return order(size, rng, aligned)[size // 2 : size // 2 + size // 4]


def order(size, rng, aligned):
    """The numbers of the units, dead ones first, then unread ones."""
    if not aligned:
        return rng.permutation(size)
    if size % 8:
        return np.random.default_rng(size).permutation(size)
    return (EIGHT[:, None] + 8 * np.arange(size // 8)).ravel()


def some_inputs(model, *, seed=1, batch=11):
    """Random inputs in the structure that the model takes.

    The batch is as long as no layer is wide: Keras on TensorFlow takes a
    column that is as long as a row for a bias, in `x + column`.
    """
    rng = np.random.default_rng(seed)

    def values(tensor):
        shape = (batch, *tensor.shape[1:])
        if "int" in keras.backend.standardize_dtype(tensor.dtype):
            return rng.integers(0, 20, shape)
        return rng.normal(size=shape).astype(tensor.dtype)

    sequential = isinstance(model, keras.Sequential)
    return keras.tree.map_structure(
        values, model.inputs[0] if sequential else model.input
    )


def outputs(model, x):
    """The model's outputs at inference, as a flat list of NumPy arrays."""
    results = keras.tree.flatten(model(x, training=False))
    return [keras.ops.convert_to_numpy(y).astype("float64") for y in results]


def largest_difference(found, expected):
    """max |difference| / max |output|, over all outputs."""
    assert [y.shape for y in found] == [y.shape for y in expected]
    assert all(np.isfinite(y).all() for y in expected)
    return max(
        np.abs(a - b).max() / np.abs(b).max()
        for a, b in zip(found, expected, strict=True)
    )
