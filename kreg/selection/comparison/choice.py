"""The rules that choose a strength: best mean, one standard error, sparsity."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kreg._arguments import real_number

Select: TypeAlias = Literal["one_standard_error", "best"] | float


def checked_select(select: Any) -> Select:
    """Return `select` if it is a rule, or a sparsity in (0, 1)."""
    if isinstance(select, str) and select in ("one_standard_error", "best"):
        rule: Any = select
        return rule
    if isinstance(select, str):
        raise ValueError(
            '`select` must be "one_standard_error", "best" or a sparsity in '
            f"(0, 1). Received: select={select!r}"
        )
    sparsity = real_number("select", select)
    if not 0.0 < sparsity < 1.0:
        raise ValueError(
            "`select` must be a sparsity in (0, 1): the fraction of the "
            f"penalized weights that are zero. Received: select={select!r}"
        )
    return sparsity


def standard_errors(scores: NDArray[Any]) -> NDArray[Any]:
    """The standard error of the mean score, for each strength.

    It is the root mean square of the standard errors of all seeds. More seeds
    do not lower it, because they split the same rows again and say nothing
    about other data.

    Args:
        scores: array of shape `(seeds, folds, strengths)`.
    """
    folds = scores.shape[1]
    if folds == 1:
        return np.zeros(scores.shape[2])
    variances = scores.var(axis=1, ddof=1) / folds
    return np.asarray(np.sqrt(variances.mean(axis=0)))


def chosen_index(
    scores: NDArray[Any],
    sparsities: NDArray[Any],
    strengths: Sequence[float],
    select: Select,
) -> int:
    """The index of the strength that a rule chooses.

    Args:
        scores: array of shape `(seeds, folds, strengths)`; larger is better. A
            strength with a NaN score is chosen only if all have one.
        sparsities: an array of the same shape.
        strengths: the strengths.
        select: the rule, as `checked_select` returns it.
    """
    sizes = np.asarray(strengths)
    means = scores.mean(axis=(0, 1))
    eligible = ~np.isnan(means)
    if not eligible.any():
        eligible, means = ~eligible, np.zeros_like(means)
    if not isinstance(select, str):
        zeros = sparsities.mean(axis=(0, 1))
        reached = eligible & (zeros >= select)
        if reached.any():
            return _extreme(reached, -sizes)
        return _extreme(eligible & (zeros == zeros[eligible].max()), sizes)
    best = _extreme(eligible & (means == means[eligible].max()), sizes)
    if select == "best":
        return best
    limit = means[best] - np.nan_to_num(standard_errors(scores))[best]
    return _extreme(eligible & (means >= limit), sizes)


def held_out_scores(
    scores: NDArray[Any],
    sparsities: NDArray[Any],
    strengths: Sequence[float],
    select: Select,
) -> NDArray[Any]:
    """The score of every fold at the strength that the other folds choose.

    A strength is never judged on a fold that helped to choose it. So a penalty
    with many strengths to choose from has no advantage over one with few.

    Args:
        scores: array of shape `(seeds, folds, strengths)`; larger is better.
        sparsities: an array of the same shape.
        strengths: the strengths.
        select: the rule.

    Returns:
        An array of shape `(seeds, folds)`.
    """
    seeds, folds, _ = scores.shape
    held_out = np.empty((seeds, folds))
    for seed in range(seeds):
        for fold in range(folds):
            others = np.arange(folds) != fold
            index = chosen_index(
                scores[[seed]][:, others],
                sparsities[[seed]][:, others],
                strengths,
                select,
            )
            held_out[seed, fold] = scores[seed, fold, index]
    return held_out


def _extreme(allowed: NDArray[Any], size: NDArray[Any]) -> int:
    """The index of the largest of the allowed sizes."""
    return int(np.where(allowed, size, -np.inf).argmax())
