"""The heads of attention layers in NumPy, for tests of penalties on them."""

import keras
import numpy as np
from keras import layers

import kreg

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


def group_numbers(variable):
    """The number of the head of each entry, by the penalty on the weight."""
    slices = variable.regularizer.part.slices
    shape = [1] * len(slices.view)
    shape[slices.axis] = -1
    numbers = slices.numbers.reshape(shape)
    return np.broadcast_to(numbers, slices.view).reshape(variable.shape)


def output_without_head(model, head, tied, x, *, others=False):
    """The output where the output kernel of a head is 0, the rest random.

    Args:
        head: the number of a head.
        tied: the weights that are tied.
        others: whether the query, key and value of the head are drawn anew, or
            those of the next head.
    """
    rng = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(0.5 * rng.normal(size=variable.shape))
    rng = np.random.default_rng(2)
    for variable in tied:
        numbers = group_numbers(variable)
        value = np.array(keras.ops.convert_to_numpy(variable))
        is_output = "output" in variable.path
        if is_output:
            value[numbers == head] = 0.0
        elif others is not None:
            moved = (head + others) % (numbers.max() + 1)
            value[numbers == moved] = rng.normal(size=(numbers == moved).sum())
        variable.assign(value)
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x))]


def check_heads(model, x):
    """A head whose output kernel is 0 does not act, and others do."""
    tied = [
        v
        for v in model.trainable_weights
        if isinstance(getattr(v.regularizer, "penalty", None), kreg.GroupLasso)
    ]
    count = tied[0].regularizer.part.tie.count
    for head in range(count):
        base = output_without_head(model, head, tied, x, others=None)
        same = output_without_head(model, head, tied, x, others=0)
        other = output_without_head(model, head, tied, x, others=1)
        for a, b, c in zip(base, same, other, strict=True):
            scale = np.abs(a).max()
            assert np.abs(a - b).max() < 1e-5 * scale
            assert count == 1 or np.abs(a - c).max() > 1e-3 * scale
