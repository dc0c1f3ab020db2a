"""Training a model at one strength after the other, and going on later."""

__all__: list[str] = []
