"""What one reading of a model's weights says."""

from kreg.statistics._check import Finding, check
from kreg.statistics._penalties import penalties
from kreg.statistics._read import read
from kreg.statistics._reading import LayerReading, Reading, WeightReading
from kreg.statistics._summary import summary

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
