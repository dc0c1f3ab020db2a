"""`StabilityResult`, and `stability_bound` on the number of false features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kreg._arguments import (
    boolean,
    positive_integer,
    positive_number,
    real_number,
)
from kreg.results.result import ResultWithRows, SavedResult
from kreg.results.table import Column, Table


def stability_bound(
    num_selected: float,
    num_features: int,
    threshold: float,
    *,
    pairs: int = 50,
    unimodal: bool = False,
) -> float:
    """The bound on the expected number of features selected by mistake.

    Let each half of the rows select q of p features on average, and let a
    feature be stable if at least the fraction `threshold` of the halves select
    it. Then the bound is

        q ** 2 / (p * (2 * threshold - 1))

    A mistake is a stable feature that a half selects with probability q / p or
    less, no more often than by drawing features at random. If the noise
    features are exchangeable, mistakes are noise features. Nothing else is
    assumed.

    With `unimodal=True` the bound is about half of that. This assumes that the
    fraction of pairs in which both halves select such a feature has a unimodal
    distribution, which is usual but cannot be checked.

    Args:
        num_selected: float > 0, q in the formula. At most `num_features`.
        num_features: int >= 1, p in the formula.
        threshold: float in (0.5, 1], the fraction of the halves.
        pairs: int >= 1, the number of complementary pairs of halves; only the
            unimodal bound depends on it. Defaults to `50`.
        unimodal: bool. Defaults to `False`.

    Returns:
        The bound, a float; trivial if it is above `num_features`.

    Raises:
        ValueError: if an argument is out of range, or `threshold` is so close
            to 0.5 that the unimodal bound does not hold.

    Example:

    >>> import kreg
    >>> round(kreg.selection.stability_bound(2, 9, 0.75), 3)
    0.889
    >>> round(kreg.selection.stability_bound(2, 9, 0.75, unimodal=True), 3)
    0.454

    References:

    - Meinshausen and Buehlmann, "Stability selection", Journal of the Royal
      Statistical Society B 72 (2010), theorem 1.
    - Shah and Samworth, "Variable selection with error control: another look
      at stability selection", Journal of the Royal Statistical Society B 75
      (2013), theorems 1 and 2.
    """
    unimodal = boolean("unimodal", unimodal)
    num_features = positive_integer("num_features", num_features)
    pairs = positive_integer("pairs", pairs)
    threshold = checked_threshold(threshold)
    num_selected = positive_number("num_selected", num_selected)
    if num_selected > num_features:
        raise ValueError(
            "`num_selected` must be at most `num_features`. Received: "
            f"num_selected={num_selected}, num_features={num_features}"
        )
    factor = 1.0 / (2.0 * threshold - 1.0)
    if unimodal:
        factor = _unimodal_factor(threshold, pairs, num_selected / num_features)
    return factor * num_selected**2 / num_features


def largest_number(
    expected_false: float, num_features: int, threshold: float
) -> int:
    """The number of features, perhaps 0, that the bound lets a half select."""
    allowed = expected_false * num_features * (2.0 * threshold - 1.0)
    number = int(allowed**0.5)
    if (number + 1) ** 2 <= allowed:
        number += 1  # the root was rounded down
    return min(number, num_features)


def checked_threshold(value: float) -> float:
    """Return `value` as a float in (0.5, 1], or raise."""
    threshold = real_number("threshold", value)
    if not 0.5 < threshold <= 1.0:
        raise ValueError(
            "`threshold` must be a fraction in (0.5, 1]. "
            f"Received: threshold={value!r}"
        )
    return threshold


def _unimodal_factor(threshold: float, pairs: int, fraction: float) -> float:
    """`C(threshold, pairs)` of theorem 2 of Shah and Samworth.

    Args:
        threshold, pairs: as for `stability_bound`.
        fraction: the fraction of the features that a half selects.
    """
    lowest = 0.5 + min(fraction**2, 0.5 / pairs + 0.75 * fraction**2)
    if fraction > 3**-0.5 or threshold <= max(lowest, 0.5 + 0.5 / pairs):
        raise ValueError(
            "`threshold` must be larger, or `num_selected` smaller, for the "
            f"unimodal bound. Received: threshold={threshold}, with "
            f"{fraction:.3g} of the features selected and {pairs} pairs"
        )
    if threshold <= 0.75:
        return 1.0 / (2.0 * (2.0 * threshold - 1.0 - 0.5 / pairs))
    return 4.0 * (1.0 - threshold + 0.5 / pairs) / (1.0 + 1.0 / pairs)


@dataclass(frozen=True, repr=False)
class StabilityResult(ResultWithRows, SavedResult):
    """How often halves of the rows select each input feature.

    Args:
        selections: for each half the indices of the features that it selects;
            the two halves of a pair are adjacent.
        num_features: the number of features.
        limit: the maximum number of features that a half may select.
        threshold: a feature is stable if at least this fraction of the halves
            select it.
        seed: the seed of the halves and the paths.

    Example:

    >>> import kreg
    >>> result = kreg.selection.StabilityResult(
    ...     ((0, 2), (2,), (2, 3), (0, 2)), num_features=8, limit=2,
    ...     threshold=0.75)
    >>> result.frequencies
    (0.5, 0.0, 1.0, 0.25, 0.0, 0.0, 0.0, 0.0)
    >>> result.selected, result.expected_false
    ((2,), 1.0)
    """

    selections: tuple[tuple[int, ...], ...]
    num_features: int
    limit: int
    threshold: float
    seed: int = 0

    @property
    def frequencies(self) -> tuple[float, ...]:
        """The fraction of the halves that select each feature."""
        counts = [0] * self.num_features
        for selection in self.selections:
            for feature in selection:
                counts[feature] += 1
        return tuple(count / len(self.selections) for count in counts)

    @property
    def selected(self) -> tuple[int, ...]:
        """The indices of the stable features, in increasing order."""
        return tuple(
            feature
            for feature, frequency in enumerate(self.frequencies)
            if frequency >= self.threshold
        )

    @property
    def expected_false(self) -> float:
        """The bound on the expected number of stable features by mistake."""
        return stability_bound(self.limit, self.num_features, self.threshold)

    def headline(self) -> dict[str, Any]:
        """The number of stable features, of all features, and the bound."""
        return {
            "selected": len(self.selected),
            "num_features": self.num_features,
            "halves": len(self.selections),
            "expected_false": self.expected_false,
        }

    def table(self) -> Table:
        """A row for each feature that any half selects, stable ones first."""
        rows = [
            (
                str(record["feature"]),
                f"{record['frequency']:.1%}",
                "yes" if record["stable"] else "no",
            )
            for record in self.records()
        ]
        notes = [
            f"Stable: at least {self.threshold:.1%} of {len(self.selections)} "
            f"halves select it. Of {len(self.selected)} stable features at "
            f"most {self.expected_false:.3g} are expected to be mistakes.",
            f"No half selects the other {self.num_features - len(rows):,} "
            "features.",
        ]
        columns = (Column("feature"), Column("frequency"), Column("stable"))
        return Table(columns, rows, title="stability selection", notes=notes)

    def records(self) -> list[dict[str, Any]]:
        """The features that any half selects, by decreasing frequency."""
        records = [
            {
                "feature": feature,
                "frequency": frequency,
                "stable": frequency >= self.threshold,
            }
            for feature, frequency in enumerate(self.frequencies)
            if frequency > 0.0
        ]
        return sorted(records, key=lambda record: -record["frequency"])

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        return {
            **super().to_dict(),
            "frequencies": list(self.frequencies),
            "selected": list(self.selected),
            "expected_false": self.expected_false,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StabilityResult":
        """The inverse of `to_dict`."""
        return cls(
            selections=tuple(
                tuple(int(i) for i in features)
                for features in values["selections"]
            ),
            num_features=values["num_features"],
            limit=values["limit"],
            threshold=values["threshold"],
            seed=values["seed"],
        )
