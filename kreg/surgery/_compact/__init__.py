"""The parts of `kreg.compact`: which units can go, and the smaller model."""

__all__: list[str] = []
