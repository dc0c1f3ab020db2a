"""Models with one mistake, and what `kreg.check` says of them."""

import re

import keras
import numpy as np
from keras import layers, ops

import kreg
from kreg.statistics import check

L1, L2 = keras.regularizers.L1, keras.regularizers.L2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = X[:, :1] - 2.0 * X[:, 1:2]  # the other four inputs are noise

ZERO_MAKERS = {
    "L1": lambda: kreg.L1(0.2),
    "L1L2": lambda: kreg.L1L2(0.2, 0.01),
    "MCP": lambda: kreg.MCP(0.2, gamma=20.0),
    "GroupLasso": lambda: kreg.GroupLasso(0.2, groups=(1,)),
    "SparseGroupLasso": lambda: kreg.SparseGroupLasso(0.1, 0.1, groups="units"),
    "L1_ramp": lambda: kreg.L1(kreg.schedules.LinearRamp(0.0, 0.2, steps=9)),
    "L1_factors": lambda: kreg.L1(0.2, factors=[[1.0]] * 6),
}
OTHERS = {
    "none": lambda: None,
    "L2": lambda: kreg.L2(0.2),
    "L2_keras": lambda: L2(0.2),
    "L1L2_without_l1": lambda: kreg.L1L2(l1=0.0, l2=0.2),
    "L1L2_keras": lambda: keras.regularizers.L1L2(l2=0.2),
    "L1_zero": lambda: kreg.L1(0.0),
    "L1_zero_for_ever": lambda: kreg.L1(
        kreg.schedules.LinearRamp(0.0, 0.0, steps=9)
    ),
    "L1_all_factors_zero": lambda: kreg.L1(0.2, factors=0.0),
    "L1_keras_zero": lambda: L1(0.0),
    "callable": lambda: lambda w: 0.1 * ops.sum(ops.abs(w)),
}


def linear_model(regularizer=None, optimizer=None, **arguments):
    """One kernel `last.kernel` of shape (6, 1), all ones."""
    layer = layers.Dense(
        1,
        kernel_regularizer=regularizer,
        kernel_initializer="ones",
        name="last",
        **arguments,
    )
    model = keras.Sequential([keras.Input((6,)), layer], name="net")
    if optimizer is not None:
        model.compile(optimizer, "mse")
    return model


def rules(model, **arguments):
    return [finding.rule for finding in check(model, **arguments)]


def finding(model, rule, **arguments):
    found = [f for f in check(model, **arguments) if f.rule == rule]
    assert len(found) == 1, f"{len(found)} findings of {rule}; is it in RULES?"
    return found[0]


def codes(found):
    return re.findall(r"`([^`]+)`", found.fix)


def run(code, model):
    """The value of a fix's expression; or None, with its statement done."""
    names = {"model": model, "keras": keras, "kreg": kreg}
    try:
        expression = compile(code, "fix", "eval")
    except SyntaxError:
        exec(code, names)
        return None
    return eval(expression, names)


def kernel_of(model):
    return ops.convert_to_numpy(model.layers[-1].kernel)


def train(model, steps):
    x, y = np.tile(X, (steps, 1)), np.tile(Y, (steps, 1))
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)


def dense(**arguments):
    arguments = {"kernel_regularizer": kreg.L2(0.1), **arguments}
    return layers.Dense(4, name="before", **arguments)


def bn(**arguments):
    arguments = {"name": "bn", **arguments}
    return layers.BatchNormalization(epsilon=1e-9, **arguments)


def functional(build, shape=(4,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def nested(*parts):
    return keras.Sequential([keras.Input((4,)), *parts])
