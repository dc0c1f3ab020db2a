"""Training a model at one strength."""

__all__: list[str] = []
