"""Paths of models with a `train_step` of the user."""

import keras
import numpy as np
import pytest
from custom_steps import CustomStep, OwnLoss
from thorough import few_of

import kreg
from kreg.selection import StrengthGrid, Training, path, strength_max

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4)).astype("float32")
Y = (2.0 * X[:, :1] - X[:, 1:2]).astype("float32")
Y += 0.3 * RNG.normal(size=(80, 1)).astype("float32")


def linear(cls):
    inputs = keras.Input((4,))
    model = cls(inputs, keras.layers.Dense(1)(inputs))
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        "mse",
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


@pytest.mark.parametrize("cls", [CustomStep, OwnLoss])
def test_strength_max_is_that_of_the_common_step(cls):
    expected = strength_max(linear(keras.Model), (X, Y))
    assert strength_max(linear(cls), (X, Y)) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("cls", few_of([CustomStep, OwnLoss], CustomStep))
def test_path_is_that_of_the_common_step(cls):
    own, common = (
        path(
            lambda kind=kind: linear(kind),
            (X, Y),
            kreg.L1,
            training=Training(epochs=600, batch_size=None, tolerance=1e-5),
            strengths=StrengthGrid(num=6),
            verbose=0,
        )
        for kind in (cls, keras.Model)
    )
    assert {0, 2} <= {p.nonzeros for p in common.points}
    for ours, theirs in zip(own.weights, common.weights, strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)


def renamed(told):
    """The logs of a step, under a name of its own; on JAX with the state."""
    if isinstance(told, tuple):
        return renamed(told[0]), told[1]
    return {"total": told["loss"]}


class OwnFigures(CustomStep):
    """Returns neither a loss nor a penalty, in training and in tests."""

    def train_step(self, *arguments):
        return renamed(super().train_step(*arguments))

    def test_step(self, *arguments):
        return renamed(super().test_step(*arguments))


@pytest.mark.thorough
def test_path_of_steps_that_tell_no_loss():
    result = path(
        lambda: linear(OwnFigures),
        (X, Y),
        kreg.L1,
        training=Training(epochs=300, batch_size=None),
        strengths=StrengthGrid(num=4),
        verbose=0,
    )
    assert result.points[0].nonzeros == 0
    assert result.points[-1].nonzeros >= 2
    assert "total" in result.points[-1].train
