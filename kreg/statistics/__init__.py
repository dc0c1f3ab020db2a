"""What one reading of a model's weights says."""

from kreg.statistics._penalties import penalties

__all__ = ["penalties"]
