"""Minimizes a quadratic function over convex combinations of vectors."""

import math

import numpy as np

from kreg.selection.strengths.slopes import Vector

# The maximum number of changes of the active set, per vector.
_EXCHANGES = 10


def convex_combination(products: Vector, linear: Vector) -> Vector:
    r"""Minimize a quadratic function over convex combinations of vectors.

    It minimizes $\tfrac12 s^\top P s + c^\top s$ under $s_i \ge 0$ and
    $\sum_i s_i = 1$ by an active-set method.

    Args:
        products: the inner products $P$ of the vectors, of shape (n, n).
        linear: the linear coefficients $c$, of shape (n,).

    Returns:
        The weights $s$ of the convex combination.

    References:
        Wolfe, "Finding the nearest point in a polytope", Mathematical
        Programming 11, 1976.
    """
    squares = np.diagonal(products)
    # If there are more vectors than dimensions, they are linearly dependent; a
    # small ridge makes the solution unique.
    ridge = max(1e-11 * float(np.median(squares)), 1e-300)
    products = products + ridge * np.eye(len(linear))
    weights = np.zeros(len(linear))
    weights[(0.5 * squares + linear).argmin()] = 1.0
    for _ in range(_EXCHANGES * len(linear)):
        pull = products @ weights + linear
        level, gain = float(weights @ pull), int(pull.argmin())
        if pull[gain] >= level - 1e-10 * abs(level) or weights[gain] > 0.0:
            break
        active = np.append(np.flatnonzero(weights), gain)
        while True:
            wanted = _stationary(
                products[np.ix_(active, active)], linear[active]
            )
            now = weights[active]
            leaving = wanted <= 0.0
            lost = np.maximum(now - wanted, 1e-300)[leaving]
            reach = now[leaving] / lost
            part = float(min(1.0, reach.min(initial=1.0)))
            moved = now + part * (wanted - now)
            moved[leaving] = np.where(reach <= part, 0.0, moved[leaving])
            weights[active] = moved / moved.sum()
            active = active[moved > 0.0]
            if not leaving.any() or len(active) == 1:
                break
    return weights


def _stationary(products: Vector, linear: Vector) -> Vector:
    """The weights of sum 1 at which all derivatives are equal."""
    size = len(linear)
    unit = math.sqrt(float(np.abs(products).max()))
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = products
    system[size, :size] = system[:size, size] = unit
    right = np.append(-linear, unit)
    solution = np.linalg.lstsq(system, right, rcond=None)[0]
    weights: Vector = solution[:size]
    return weights
