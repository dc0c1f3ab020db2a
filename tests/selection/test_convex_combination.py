"""The convex combination with the smallest quadratic function, solved twice."""

import numpy as np
import pytest
from scipy.optimize import minimize

from kreg.selection.strengths.convex_combination import convex_combination


@pytest.mark.parametrize("axes", [1, 3, 8])
@pytest.mark.parametrize("number", [1, 2, 5, 12])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_as_a_general_solver_finds(axes, number, scale):
    rng = np.random.default_rng([axes, number])
    vectors = rng.normal(size=(number, axes)) + 0.3
    linear = scale * rng.uniform(size=number)
    products = vectors @ vectors.T

    def value(shares):
        return 0.5 * shares @ products @ shares + linear @ shares

    found = convex_combination(products, linear)
    solved = minimize(
        value,
        np.full(number, 1.0 / number),
        jac=lambda shares: products @ shares + linear,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * number,
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1.0},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert (found >= 0.0).all()
    assert found.sum() == pytest.approx(1.0)
    assert value(found) == pytest.approx(solved.fun, rel=1e-6, abs=1e-9)


def test_equal_vectors():
    products = np.ones((4, 4))
    found = convex_combination(products, np.array([0.3, 0.1, 0.1, 0.2]))
    assert found[1] + found[2] == pytest.approx(1.0)


def test_vectors_of_zeros():
    found = convex_combination(np.zeros((3, 3)), np.zeros(3))
    assert found.sum() == pytest.approx(1.0)
