"""The convex combination of vectors that a quadratic function is least at."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[Any]

# As many changes of the active set, for each vector.
_EXCHANGES = 10


def convex_combination(products: Vector, linear: Vector) -> Vector:
    r"""The convex combination with the smallest quadratic function.

    $\tfrac12 s^\top P s + c^\top s$ under $s_i \ge 0$ and $\sum_i s_i = 1$.

    Args:
        products: the products $P$ of vectors, of shape (n, n).
        linear: the coefficients $c$, of shape (n,).

    Returns:
        The shares $s$, from an active set that grows by one share at a time.

    References:
        Wolfe, "Finding the nearest point in a polytope", Mathematical
        Programming 11, 1976.
    """
    squares = np.diagonal(products)
    # More vectors than axes depend on each other, which no solution may show.
    ridge = max(1e-11 * float(np.median(squares)), 1e-300)
    products = products + ridge * np.eye(len(linear))
    shares = np.zeros(len(linear))
    shares[(0.5 * squares + linear).argmin()] = 1.0
    for _ in range(_EXCHANGES * len(linear)):
        pull = products @ shares + linear
        level, gain = float(shares @ pull), int(pull.argmin())
        if pull[gain] >= level - 1e-10 * abs(level) or shares[gain] > 0.0:
            break
        active = np.append(np.flatnonzero(shares), gain)
        while True:
            wanted = _stationary(
                products[np.ix_(active, active)], linear[active]
            )
            now = shares[active]
            leaving = wanted <= 0.0
            lost = np.maximum(now - wanted, 1e-300)[leaving]
            reach = now[leaving] / lost
            part = float(min(1.0, reach.min(initial=1.0)))
            moved = now + part * (wanted - now)
            moved[leaving] = np.where(reach <= part, 0.0, moved[leaving])
            shares[active] = moved / moved.sum()
            active = active[moved > 0.0]
            if not leaving.any() or len(active) == 1:
                break
    return shares


def _stationary(products: Vector, linear: Vector) -> Vector:
    """The shares that sum to 1 at which all derivatives are the same."""
    size = len(linear)
    unit = math.sqrt(float(np.abs(products).max()))
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = products
    system[size, :size] = system[:size, size] = unit
    right = np.append(-linear, unit)
    solution = np.linalg.lstsq(system, right, rcond=None)[0]
    shares: Vector = solution[:size]
    return shares
