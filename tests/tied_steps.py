"""The proximal step over a group with an effective step for each entry."""

import keras
import numpy as np
from keras import optimizers


def tied_step(w, t, strength):
    """The minimum of `strength * norm(u) + sum((u - w) ** 2 / (2 * t))`.

    Computed in double precision, by bisection for the norm of u.
    """
    if np.linalg.norm(w / t) <= strength:
        return np.zeros_like(w)
    low, high = 0.0, np.linalg.norm(w)
    for _ in range(200):
        middle = 0.5 * (low + high)
        is_low = np.sum((w / (middle + strength * t)) ** 2) > 1.0
        low, high = (middle, high) if is_low else (low, middle)
    return w * high / (high + strength * t)


def slot(optimizer, name, path):
    paths = [v.path for v in optimizer._trainable_variables]
    return keras.ops.convert_to_numpy(
        getattr(optimizer, name)[paths.index(path)]
    ).astype("float64")


def sizes(optimizer, path):
    """The squares of gradients; where there was none yet, those of others."""
    v = slot(optimizer, "_velocities", path)
    return np.where(v > 0, v, v.mean() or 1.0)


def adam_step(inner, path):
    # The first update: both corrections are those of one step.
    second = np.sqrt(1.0 - inner.beta_2) / (1.0 - inner.beta_1)
    v = sizes(inner, path)
    return 0.01 * second / (np.sqrt(v) + inner.epsilon)


def rmsprop_step(inner, path):
    v = sizes(inner, path)
    return 0.01 / 0.5 / np.sqrt(v + inner.epsilon)


STEPS = {
    "sgd": (lambda: optimizers.SGD(0.1), lambda o, path: 0.1, np.inf),
    "momentum": (
        lambda: optimizers.SGD(0.05, momentum=0.5),
        lambda o, path: 0.05 / (1 - 0.5),
        np.inf,
    ),
    "adam": (lambda: optimizers.Adam(0.01), adam_step, 0.02),
    "rmsprop": (
        lambda: optimizers.RMSprop(0.01, momentum=0.5),
        rmsprop_step,
        0.04,
    ),
}
"""Functions that make an optimizer; its effective step for a weight, after one
update; and the longest change by the proximal step."""
