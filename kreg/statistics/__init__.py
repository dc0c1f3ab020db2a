"""Statistics of a model's weights: `read`, `summary`, `penalties`, `check`."""

from kreg.statistics._linter.check import Finding, Findings, check
from kreg.statistics._penalties import Penalties, penalties
from kreg.statistics._summary import summary
from kreg.statistics.reader import read
from kreg.statistics.reading import LayerReading, Reading, WeightReading
from kreg.statistics.tie_reading import TieReading

__all__ = [
    "Finding",
    "Findings",
    "LayerReading",
    "Penalties",
    "Reading",
    "TieReading",
    "WeightReading",
    "check",
    "penalties",
    "read",
    "summary",
]
