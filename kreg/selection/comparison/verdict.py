"""Significance of differences between penalties: paired test, Holm's method."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from numpy.typing import NDArray

from kreg.results.result import Result

LEVEL = 0.95


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """Two penalties, compared fold by fold.

    The interval and the adjusted p-value never contradict each other: the
    interval excludes 0 if and only if the difference is significant. So if
    several pairs are compared, the level is above 95 %: it is `1 - 0.05 / k` if
    Holm's method compares the p-value with `0.05 / k`. Each single interval
    covers the true difference with a probability of at least 95 %; all
    intervals together may do so with a smaller one.

    Args:
        first: the name of a penalty.
        second: the name of another.
        difference: the mean score of the first minus that of the second, each
            at the strength that the other folds chose.
        low: the lower end of its confidence interval.
        high: the upper end.
        level: the confidence level of the interval: 0.95 for a single pair,
            more if several pairs are compared.
        p_value: the probability of a difference at least as large, if the
            penalties did not differ.
        adjusted_p_value: the p-value, increased by Holm's method because
            several pairs are compared at once.
        significant: whether `adjusted_p_value` is below 0.05.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    level: float
    p_value: float
    adjusted_p_value: float
    significant: bool

    def headline(self) -> dict[str, Any]:
        """The pair and its difference."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "adjusted_p_value": self.adjusted_p_value,
        }


def comparisons_of(
    scores: Mapping[str, NDArray[Any]], validation_ratio: float
) -> tuple[Comparison, ...]:
    """Compare each pair of penalties.

    Args:
        scores: for each penalty by name, the score of each fold.
        validation_ratio: the ratio of held-out rows to training rows in a fold.
    """
    pairs = list(combinations(scores, 2))
    differences = [scores[a] - scores[b] for a, b in pairs]
    p_values = [
        corrected_t_test(each, validation_ratio).p_value for each in differences
    ]
    comparisons = []
    for (a, b), each, (adjusted, level) in zip(
        pairs, differences, _holm(p_values), strict=True
    ):
        test = corrected_t_test(each, validation_ratio, level)
        comparisons.append(
            Comparison(
                first=a,
                second=b,
                difference=test.mean,
                low=test.low,
                high=test.high,
                level=level,
                p_value=test.p_value,
                adjusted_p_value=adjusted,
                significant=adjusted < 1 - LEVEL,
            )
        )
    return tuple(comparisons)


@dataclass(frozen=True)
class PairedTest:
    """The mean of paired differences, with its interval and p-value.

    Args:
        mean: the mean.
        low: the lower end of its confidence interval.
        high: the upper end.
        p_value: the probability of a mean at least as far from 0, if the true
            mean were 0.
    """

    mean: float
    low: float
    high: float
    p_value: float


def corrected_t_test(
    differences: NDArray[Any], validation_ratio: float, level: float = LEVEL
) -> PairedTest:
    """The corrected resampled t-test.

    Formula: `t = mean / sqrt((1 / J + validation_ratio) * variance)` with
    `J - 1` degrees of freedom, for `J` differences. The plain test treats folds
    as independent samples. But folds share most of their training rows, so the
    plain test finds differences that do not exist.

    Args:
        differences: the paired differences, one for each fold.
        validation_ratio: the ratio of held-out rows to training rows.
        level: the confidence level of the interval. Defaults to `0.95`.

    Returns:
        A `PairedTest`; all its fields are NaN if a difference is NaN.

    References:
        Nadeau and Bengio, "Inference for the Generalization Error", Machine
        Learning 52, 2003.
    """
    from scipy import stats

    number = differences.size
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) * math.sqrt(
        1 / number + validation_ratio
    )
    if math.isnan(mean):
        return PairedTest(mean, mean, mean, mean)
    if spread == 0.0:
        return PairedTest(mean, mean, mean, float(mean == 0.0))
    distribution = stats.t(number - 1)
    half = float(distribution.ppf((1 + level) / 2)) * spread
    p_value = 2 * float(distribution.sf(abs(mean / spread)))
    return PairedTest(mean, mean - half, mean + half, p_value)


def _holm(p_values: list[float]) -> list[tuple[float, float]]:
    """The adjusted p-values, and the confidence levels that agree with them.

    Holm's method compares the smallest p-value with 0.05 divided by the number
    of pairs, the next with 0.05 divided by one less, and so on. From the first
    p-value that is not below its limit on, no difference is significant, and
    the level does not change any more. NaN stays NaN, and counts as a pair.

    References:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure",
        Scandinavian Journal of Statistics 6, 1979.
    """
    error = 1 - LEVEL
    number = len(p_values)
    adjusted = [(math.nan, LEVEL)] * number
    numbers = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    largest, pairs_left = 0.0, number
    for rank, i in enumerate(sorted(numbers, key=lambda i: p_values[i])):
        if largest < error:
            pairs_left = number - rank
        largest = max(largest, min(1.0, p_values[i] * (number - rank)))
        adjusted[i] = largest, 1 - error / pairs_left
    return adjusted


def compared_text(
    name: str, comparisons: tuple[Comparison, ...], more_is_better: bool
) -> str:
    """How the chosen penalty compares with the others, in words."""
    better: list[str] = []
    worse: list[str] = []
    equal: list[str] = []
    unknown: list[str] = []
    for pair in comparisons:
        if name not in (pair.first, pair.second):
            continue
        other = pair.second if pair.first == name else pair.first
        if math.isnan(pair.p_value):
            unknown.append(other)
        elif not pair.significant:
            equal.append(other)
        else:
            ahead = (pair.difference > 0) == (pair.first == name)
            (better if ahead == more_is_better else worse).append(other)
    texts = [
        f"{start} {', '.join(names)}."
        for start, names in (
            ("Significantly better than", better),
            ("Significantly worse than", worse),
            ("No significant difference from", equal),
            ("Not comparable with", unknown),
        )
        if names
    ]
    return " ".join(texts)
