"""The subgradient of least strength where rows lie on kinks of the loss."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg.selection.strengths.row_losses import RowLosses

Array = NDArray[Any]

# Kinks are sought up to this fraction of the distance over which the loss
# changes by as much as itself.
_NEARBY = 0.1
# The largest relative deviation from straight lines.
_STRAIGHT = 1e-2
# A kink is sharp on this fraction of that distance, at one of as many places on
# either side of where the straight lines meet.
_SHARP, _PLACES = 5e-4, 20
_PLANES, _MOST_ENTRIES = 60, 2**22
# In the linear program: the weight of the strength against the distances of
# kinks, and the largest derivative that counts as zero.
_SECOND, _ZERO = 1e-4, 1e-7
_CLOSE = 1e-5
# Up to this fraction of the first subgradient's, a size is a rounding error.
_NOTHING = 1e-7


@dataclass(frozen=True)
class _Kinks:
    """The derivatives of the loss by the sums, and their jumps.

    Args:
        slopes: the derivatives, (rows, outputs); below the kink, if near one.
        rows: the row of each kink.
        columns: its output.
        jumps: by how much the derivative is larger above it.
        places: where it is, from the present sum, in units of the reach.
    """

    slopes: Array
    rows: Array
    columns: Array
    jumps: Array
    places: Array


def least_slope(
    losses: RowLosses, slope: Array, norms: Array, groups: Array
) -> Array | None:
    """The subgradient by a kernel that needs the smallest strength.

    The derivative of a row on a kink may be anything between those on either
    side. Among all choices that leave no derivative by fitted entries, this
    minimizes the largest norm of a group, relative to what the strength 1 keeps
    at zero. It is a linear program with the norms as maxima of planes, which
    are added where they are needed. Kinks beside the present sums have costs,
    by which the program also finds the exact minimum nearby.

    Args:
        losses: the losses of rows, with fitted entries at a minimum and all
            others zero.
        slope: a subgradient by the kernel there.
        norms: the largest norm of each entry's group that the strength 1 keeps
            at zero; 0 for an entry that is fitted.
        groups: the number of each entry's group.

    Returns:
        None if there are no kinks nearby, or SciPy is not installed.
    """
    kinks = _kinks(losses)
    if kinks is None or not kinks.rows.size or not slope.any():
        return None
    try:
        from scipy.optimize import linprog
    except ImportError:
        return None
    has_bias = losses.inputs.shape[1] - len(slope)
    scale = np.pad(norms, ((0, has_bias), (0, 0)))
    groups = np.pad(groups, ((0, has_bias), (0, 0)))
    penalized = scale > 0.0
    base = losses.inputs.T @ kinks.slopes
    # What the derivatives by the entries of an output change by at a jump.
    moves = kinks.jumps[:, None] * losses.inputs[kinks.rows]

    def sizes_of(gradient: Array) -> Array:
        part = gradient[penalized] / scale[penalized]
        return np.sqrt(np.bincount(groups[penalized], part**2))

    inputs, outputs = np.nonzero(~penalized)
    fitted = moves[:, inputs].T * (kinks.columns == outputs[:, None])
    wanted = -base[inputs, outputs]
    units = np.abs(fitted).sum(axis=1) + np.abs(wanted) + 1e-300
    fitted, wanted = fitted / units[:, None], wanted / units
    fitted = np.pad(fitted, ((0, 0), (0, 1)))
    now = np.pad(slope, ((0, has_bias), (0, 0)))
    unit, bound = float(sizes_of(now).max()), 0.0
    best, smallest = None, np.inf
    planes: list[Array] = []
    limits: list[float] = []
    for _ in range(_PLANES):
        sizes = sizes_of(now)
        above = sizes > (1.0 + _CLOSE) * max(bound, 0.5 * sizes.max())
        for group in np.flatnonzero(above):
            own = penalized & (groups == group)
            plane = np.zeros_like(base)
            plane[own] = now[own] / scale[own] ** 2 / (sizes[group] * unit)
            planes.append((moves * plane.T[kinks.columns]).sum(axis=1))
            limits.append(-float((plane * base).sum()))
        if len(planes) * len(moves) > _MOST_ENTRIES:
            break
        rows = np.pad(planes, ((0, 0), (0, 1)), constant_values=-1.0)
        # The unknowns are the fractions of the jumps, and the strength.
        distances = kinks.places * kinks.jumps / kinks.jumps.max()
        least = _SECOND / max(np.abs(rows[:, :-1]).max(), 1e-300)
        solved = linprog(
            np.append(distances, least),
            A_ub=np.vstack([rows, fitted, -fitted]),
            b_ub=np.concatenate([limits, wanted + _ZERO, _ZERO - wanted]),
            bounds=[(0.0, 1.0)] * len(moves) + [(0.0, None)],
            options={"primal_feasibility_tolerance": 1e-9},
        )
        if solved.x is None:
            break
        slopes = kinks.slopes.copy()
        slopes[kinks.rows, kinks.columns] += kinks.jumps * solved.x[:-1]
        now, bound = losses.inputs.T @ slopes, unit * float(solved.x[-1])
        size = float(sizes_of(now).max())
        if size <= _NOTHING * unit:
            return np.zeros_like(slope)
        if size < smallest:
            best, smallest = now[: len(slope)], size
        if size <= (1.0 + 2.0 * _CLOSE) * bound:
            break
    return best


def _kinks(losses: RowLosses) -> _Kinks | None:
    """The kinks near the present sums.

    The loss of a row is straight on either side of a kink. Each line is drawn
    through two points, and the kink is where they meet. A loss that is bent
    over a short distance, as Huber's is, has none.

    Returns:
        None if the derivative by an output depends on other outputs.
    """
    middle, size = losses.of(losses.sums), losses.sums.shape

    def after(length: Any, column: int) -> Array:
        moved = losses.sums.copy()
        moved[:, column] += length
        return losses.of(moved)

    # The distance of rounding errors, in single precision, is far below it.
    short = 1e-3 * (1.0 + np.abs(losses.sums).max())
    changes = [
        np.abs(after(sign * short, k) - middle).max()
        for k in range(size[1])
        for sign in (-1.0, 1.0)
    ]
    steepest = float(max(changes)) / short
    typical = float(np.abs(middle).mean())
    if not (steepest > 0.0 and np.isfinite(steepest) and typical > 0.0):
        return None
    reach = _NEARBY * typical / steepest
    width = _SHARP * reach
    is_shown = width > losses.resolution * np.abs(losses.sums).max()

    def bend(place: Array, column: int) -> Array:
        """The largest change of the derivatives over a short distance."""
        if not is_shown:
            return np.full(len(place), np.inf)
        steps = range(-_PLACES - 1, _PLACES + 2)
        values = [after(place + step * width, column) for step in steps]
        return np.diff(values, 2, axis=0).max(axis=0) / width

    slopes, jumps, places = np.zeros(size), np.zeros(size), np.zeros(size)
    together = middle.copy()
    for k in range(size[1]):
        far_below, below, near_below, near_above, above, far_above = (
            after(part * reach, k) for part in (-1, -0.5, -0.25, 0.25, 0.5, 1)
        )
        together += far_above - middle
        low = (below - far_below) / (0.5 * reach)
        jump = (far_above - above) / (0.5 * reach) - low
        is_kink = jump > _STRAIGHT * steepest
        # Both lines go on to the middle, where they differ by the gap.
        low_middle, high_middle = 2 * below - far_below, 2 * above - far_above
        gap = low_middle - high_middle
        place = np.divide(gap, jump, out=np.zeros_like(gap), where=is_kink)
        is_kink &= np.abs(place) <= 0.5 * reach
        place[~is_kink] = 0.0
        beside = np.abs(after(place, k) - low_middle - low * place)
        is_kink &= beside <= _STRAIGHT * jump * reach
        is_kink &= bend(place, k) >= 0.5 * jump
        near = (near_above - near_below) / (0.5 * reach)
        slopes[:, k] = np.where(is_kink, low, near)
        jumps[:, k] = np.where(is_kink, jump, 0.0)
        places[:, k] = place / reach
    if not (
        np.abs(losses.of(losses.sums + reach) - together).max()
        <= _STRAIGHT * steepest * reach
    ):
        return None
    shares = losses.shares[:, None]
    rows, columns = np.nonzero(jumps * shares)
    return _Kinks(
        slopes * shares,
        rows,
        columns,
        (jumps * shares)[rows, columns],
        places[rows, columns],
    )
