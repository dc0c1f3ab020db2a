"""Training a model at one strength, deciding when to stop, and its figures."""

__all__: list[str] = []
