"""Small models, and dead units made by hand."""

import keras
import numpy as np
from keras import layers
from surgery.random_weights import largest_difference, outputs
from thorough import few_of

import kreg


def network(inputs, *hidden, head=3):
    """A functional model of layers in a row, with weights of no order."""
    if isinstance(inputs, tuple):
        inputs = keras.Input(inputs, name="features")
    x = inputs
    for layer in (*hidden, layers.Dense(head, name="logits")):
        x = layer(x)
    return filled(keras.Model(inputs, x))


def filled(model):
    rng = np.random.default_rng(0)
    for variable in {id(v): v for v in model.weights}.values():
        if "seed" not in variable.path:
            w = rng.normal(size=variable.shape)
            positive = "variance" in variable.path
            variable.assign(np.abs(w) + 0.5 if positive else w)
    return model


def kill(layer, *units, bias=None):
    """Zeroes the incoming weights of units of a layer."""
    kernel, *rest = layer.get_weights()
    kernel[..., list(units)] = 0.0
    if bias is not None:
        rest[0][list(units)] = bias
    layer.set_weights([kernel, *rest])


def ignore(layer, *inputs):
    """Zeroes the weights by which a layer reads some of its inputs."""
    kernel, *rest = layer.get_weights()
    kernel[..., list(inputs), :] = 0.0
    layer.set_weights([kernel, *rest])


def mlp(width=8, activation="relu", **arguments):
    hidden = [
        layers.Dense(width, activation, name=name, **arguments)
        for name in ("first", "second")
    ]
    return network((6,), *hidden)


def same(small, model, x):
    return largest_difference(outputs(small, x), outputs(model, x)) < 1e-5


def x_of(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def entry(compaction, name):
    (found,) = [y for y in compaction.layers if y.path.split("/")[-1] == name]
    return found


def units(model, name):
    return model.get_layer(name).get_weights()[0].shape[-1]


PRECISIONS = [("float32", 1e-5)]
"""Dtypes of layers, and how near the outputs of a compact model must be."""
if keras.backend.backend() == "tensorflow":
    # Only there does Keras compute in float64 throughout.
    PRECISIONS.append(("float64", 1e-10))
PRECISIONS = few_of(PRECISIONS, PRECISIONS[-1])


def in_precision(dtype):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)


def compacted(model, x, tolerance, folder, **options):
    """The compact model and its record, after a look at the outputs.

    Those of the model that was saved and loaded are looked at, too.
    """
    small, compaction = kreg.compact(model, return_compaction=True, **options)
    small.save(folder / "small.keras")
    loaded = keras.models.load_model(folder / "small.keras")
    for made in (small, loaded):
        difference = largest_difference(outputs(made, x), outputs(model, x))
        assert difference <= tolerance
    return small, compaction


def zero(weight, *place):
    """Set entries of a weight to 0."""
    values = np.array(keras.ops.convert_to_numpy(weight))
    values[place] = 0.0
    weight.assign(values)
