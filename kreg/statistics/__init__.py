"""What one reading of a model's weights says."""

from kreg.statistics._linter.check import Finding, check
from kreg.statistics._penalties import penalties
from kreg.statistics._summary import summary
from kreg.statistics.reader import read
from kreg.statistics.reading import LayerReading, Reading, WeightReading

__all__ = [
    "Finding",
    "LayerReading",
    "Reading",
    "WeightReading",
    "check",
    "penalties",
    "read",
    "summary",
]
