"""The strengths of a path's penalty, in the forms that it takes."""

import numpy as np
import pytest
from selection.linear_models import linear

import kreg

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3)).astype("float32")
Y = X @ np.array([[5.0], [-4.0], [3.0]], "float32")


@pytest.mark.parametrize(
    ("choice", "same"),
    [
        pytest.param(kreg.L1, kreg.L1(0.3), marks=pytest.mark.thorough),
        (kreg.L1L2, kreg.L1L2(0.3, 0.3)),
        (
            lambda s: kreg.SparseGroupLasso(s, s, groups=(0,)),
            kreg.SparseGroupLasso(0.3, 0.3, groups=(0,)),
        ),
        pytest.param(kreg.MCP, kreg.MCP(0.3), marks=pytest.mark.thorough),
        (lambda s: kreg.L1L2(2.0 * s, 1e-2), kreg.L1L2(0.6, 1e-2)),
    ],
    ids=["one", "both of a class", "groups", "concave", "one is constant"],
)
def test_a_penalty_costs_what_its_strengths_say(choice, same):
    result = kreg.path(
        lambda: linear(3),
        (X, Y),
        choice,
        [0.3],
        training=kreg.selection.Training(20, batch_size=None),
        verbose=0,
    )
    kernel = result.weights[0][0]
    assert kernel.any()
    assert result.points[0].train["penalty"] == pytest.approx(
        float(same(kernel)), rel=1e-5
    )
