"""What stability selection came to."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kreg.selection._stability_bound import stability_bound
from kreg.selection._whole_files import write_whole


@dataclass(frozen=True)
class StabilityResult:
    """How often halves of the rows select each input feature.

    Args:
        selections: for each half the indices of the features that it selects;
            the halves of a pair follow each other.
        num_features: how many features there are.
        limit: how many of them a half may select.
        threshold: the fraction of the halves from which on a feature is
            stable.
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
        """The indices of the stable features, in rising order."""
        return tuple(
            feature
            for feature, frequency in enumerate(self.frequencies)
            if frequency >= self.threshold
        )

    @property
    def expected_false(self) -> float:
        """The bound on the expected number of stable ones by mistake."""
        return stability_bound(self.limit, self.num_features, self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        return {
            **asdict(self),
            "selections": [list(features) for features in self.selections],
            "frequencies": list(self.frequencies),
            "selected": list(self.selected),
            "expected_false": self.expected_false,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StabilityResult":
        """The result that `to_dict` made `values` of."""
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

    def save(self, path: str | Path) -> None:
        """Write the result as JSON; a file that is there is replaced."""
        text = json.dumps(self.to_dict(), indent=1)
        write_whole(Path(path), lambda file: file.write(text.encode()))

    @classmethod
    def load(cls, path: str | Path) -> "StabilityResult":
        """Read what `save` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text()))
