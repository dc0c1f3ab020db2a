"""Training a model at one strength: until when, and with which result."""

__all__: list[str] = []
