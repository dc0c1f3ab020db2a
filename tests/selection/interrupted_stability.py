"""Stability selection in a process of its own, which a test ends."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from selection.interrupted_path import slow_down
from selection.linear_models import linear

from kreg.selection import (
    Execution,
    StrengthGrid,
    Training,
    stability_selection,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = 3.0 * X[:, 1] - 2.0 * X[:, 4] + RNG.normal(size=60)


def run(directory, *, epochs=20, executor=None, verbose=0, **options):
    options = {
        "strengths": StrengthGrid(4, ratio=0.05),
        "pairs": 2,
        "expected_false": 1.6,
        **options,
    }
    return stability_selection(
        partial(linear, 5),
        (X, Y),
        training=Training(epochs, batch_size=None),
        execution=Execution(executor, directory=directory, verbose=verbose),
        **options,
    )


if __name__ == "__main__":
    slow_down()
    run(Path(sys.argv[1]))
