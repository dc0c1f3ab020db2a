"""The penalty of every weight of a model."""

import keras
from keras import ops

from kreg.regularizers._clock import at_step


def penalties(model: keras.Model) -> dict[str, float]:
    """The penalty that each weight adds to the loss now.

    Schedules are read at the iteration of `model.optimizer`, whether the model
    is bound or not; at 0 for a model that is not compiled. Regularizers that
    are not kreg's count as well. Frozen weights have no penalty and are left
    out; penalties on activities belong to a batch and are left out too.

    Args:
        model: a built `keras.Model`.

    Returns:
        A dict from `variable.path` to a float, in the order of
        `model.trainable_weights`. Where two weights have the same path, the
        later ones are called `path#2`, `path#3` and so on.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential(name="net")
    >>> model.add(keras.layers.Dense(2, kernel_initializer="ones",
    ...     kernel_regularizer=kreg.L1(0.5), name="hidden"))
    >>> model.build((None, 3))
    >>> kreg.penalties(model)
    {'net/hidden/kernel': 3.0}
    """
    optimizer = getattr(model, "optimizer", None)
    step = 0 if optimizer is None else optimizer.iterations
    result: dict[str, float] = {}
    seen: dict[str, int] = {}
    with at_step(step):
        for variable in model.trainable_weights:
            if variable.regularizer is None:
                continue
            path = variable.path
            seen[path] = seen.get(path, 0) + 1
            name = path if seen[path] == 1 else f"{path}#{seen[path]}"
            value = ops.convert_to_numpy(variable.regularizer(variable))
            result[name] = float(value)
    return result
