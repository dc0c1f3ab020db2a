"""A model at one strength after the other."""

__all__: list[str] = []
