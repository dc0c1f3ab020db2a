"""A program with a model and data for it, as commands that train take."""

import sys

import numpy as np
import pytest

PROGRAM = """
import keras

def build_model():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    sgd = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(sgd, "mse", metrics=["mae"])
    return model

number = 3
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A program and data, in the folder where the command is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "kreg_train.py").write_text(PROGRAM)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    y = 3.0 * x[:, 0] + rng.normal(size=60)
    np.savez(tmp_path / "data.npz", x=x, y=y, x_test=x[:9], y_test=y[:9])
    yield tmp_path
    sys.modules.pop("kreg_train", None)
