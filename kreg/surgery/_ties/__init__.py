"""The parts of `kreg.attach`: which weights are tied in a group."""

__all__: list[str] = []
