"""The heads of attention layers in NumPy, for tests of penalties on them."""

import keras
import numpy as np
from keras import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 5, 6)).astype("float32")
Y = X[:, ::-1] @ RNG.normal(size=(6, 6)).astype("float32")


QUICK = {"run_eagerly": keras.backend.backend() == "tensorflow"}
"""For `compile`, where compiling would take longer than the few steps."""


def attention_model(**arguments):
    """A model of one attention layer with 3 heads of width 4."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    x = keras.Input((5, 6))
    attention = layers.MultiHeadAttention(3, 4, name="attention", **arguments)
    model = keras.Model(x, attention(x, x))
    for variable in model.weights:
        if variable.name == "bias":
            variable.assign(0.1 * rng.normal(size=variable.shape))
    return model


AXES = {
    "attention/query/kernel": 1,
    "attention/query/bias": 0,
    "attention/key/kernel": 1,
    "attention/key/bias": 0,
    "attention/value/kernel": 1,
    "attention/value/bias": 0,
    "attention/attention_output/kernel": 0,
}
"""The axis of the heads in each weight of the model that belongs to them."""


def tied_weights(model):
    """The weights of the heads by path; the output's bias is none of them."""
    return {v.path: v for v in model.weights if v.path in AXES}


def head_rows(arrays):
    """A matrix with a row for each head, of arrays by the paths of weights."""
    return np.concatenate(
        [
            np.moveaxis(np.asarray(array, "float64"), AXES[path], 0).reshape(
                3, -1
            )
            for path, array in arrays.items()
        ],
        axis=1,
    )


def values(model):
    """The weights of the heads as arrays, by path."""
    return {
        path: keras.ops.convert_to_numpy(variable)
        for path, variable in tied_weights(model).items()
    }


def dead_heads(model):
    """For each weight, which of its heads hold only zeros."""
    return {
        path: np.flatnonzero(
            (np.moveaxis(array, AXES[path], 0).reshape(3, -1) == 0).all(1)
        ).tolist()
        for path, array in values(model).items()
    }
