"""`entry_order`: the order in which input features enter a path."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kreg._arguments import instance_of, list_of, optional, positive_integer
from kreg.selection.paths.result import PathResult


@dataclass(frozen=True)
class FeatureEntry:
    """The strength at which an input feature enters a path.

    Args:
        feature: the index of the feature.
        name: the name of the feature; without names, its index as text.
        strength: the largest strength at which the model reads the feature.
        fraction: `strength` divided by the strength above which everything is
            zero; None if the latter was not computed.
        stays: whether the model reads the feature at all smaller strengths,
            too.
    """

    feature: int
    name: str
    strength: float
    fraction: float | None
    stays: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, ready for JSON."""
        return dict(vars(self))


def entry_order(
    result: PathResult, feature_names: Sequence[str] | None = None
) -> tuple[FeatureEntry, ...]:
    """The input features of a path, the most persistent first.

    The larger the strength at which a model still reads a feature, the more
    the data loss would grow without it. Features are ordered by strength, even
    if the path was run from weak to strong.

    Args:
        result: a `PathResult` of a model with a single flat input.
        feature_names: a str for each input feature. Defaults to `None`:
            features are named by their indices.

    Returns:
        One `FeatureEntry` for each feature that is read at any strength, by
        decreasing strength, then by index.

    Raises:
        ValueError: if the model of the path does not have a single flat input
            that dense layers read, or there are fewer names than features.

    Example:

    >>> import kreg
    >>> points = [kreg.selection.PathPoint(strength, None, 0.5, 1, 0, 0, read,
    ...     {"data_loss": 1.0}, {}, 1, 1, None, 0.1, True)
    ...     for strength, read in [(0.4, ()), (0.2, (2,)), (0.1, (0, 2))]]
    >>> path = kreg.selection.PathResult(tuple(points), "L1")
    >>> for entry in kreg.selection.entry_order(path, ["age", "sex", "bmi"]):
    ...     print(entry.name, entry.strength)
    bmi 0.2
    age 0.1
    """
    feature_names = optional(checked_names, "feature_names", feature_names)
    entries: dict[int, FeatureEntry] = {}
    readings = _selected_by_falling_strength(result)
    for place, (strength, fraction, selected) in enumerate(readings):
        weaker = [later for _, _, later in readings[place:]]
        for feature in sorted(selected - entries.keys()):
            entries[feature] = FeatureEntry(
                feature=feature,
                name=_name(feature, feature_names),
                strength=strength,
                fraction=fraction,
                stays=all(feature in later for later in weaker),
            )
    return tuple(entries.values())


def first_features(result: PathResult, number: int) -> tuple[int, ...]:
    """The input features that enter first, at most `number` of them.

    Args:
        result: a `PathResult` of a model with a single flat input.
        number: int >= 1, the maximum number of features. If several enter at
            the same strength and would exceed it, none of them is selected.

    Returns:
        The indices, in increasing order.

    Raises:
        ValueError: if the model of the path does not have a single flat input
            that dense layers read.

    Example:

    >>> import kreg
    >>> points = [kreg.selection.PathPoint(strength, None, 0.5, 1, 0, 0, read,
    ...     {"data_loss": 1.0}, {}, 1, 1, None, 0.1, True)
    ...     for strength, read in [(0.4, (2,)), (0.2, (0, 2)), (0.1, (0, 1))]]
    >>> path = kreg.selection.PathResult(tuple(points), "L1")
    >>> kreg.selection.first_features(path, 2)
    (0, 2)
    """
    number = positive_integer("number", number)
    first: set[int] = set()
    for _, _, selected in _selected_by_falling_strength(result):
        if len(first | selected) > number:
            break
        first |= selected
    return tuple(sorted(first))


def _selected_by_falling_strength(
    result: PathResult,
) -> list[tuple[float, float | None, set[int]]]:
    instance_of("result", result, PathResult, "a `PathResult`")
    readings = []
    for point in result.points:
        if point.selected_inputs is None:
            raise ValueError(
                "`result` must know which input features are read: the model "
                "of the path needs a single flat input that only dense layers "
                "read. Received: result with selected_inputs=None at "
                f"strength={point.strength}"
            )
        selected = set(point.selected_inputs)
        readings.append((point.strength, point.fraction, selected))
    return sorted(readings, key=lambda reading: -reading[0])


def checked_names(name: str, value: Any) -> list[Any]:
    """The names of features as a list."""
    return list_of(name, value, "a sequence with a name for each feature")


def _name(feature: int, names: Sequence[str] | None) -> str:
    if names is None:
        return str(feature)
    if feature >= len(names):
        raise ValueError(
            "`feature_names` must have a name for each input feature. "
            f"Received: {len(names)} names, and a path that reads feature "
            f"{feature}"
        )
    return str(names[feature])
