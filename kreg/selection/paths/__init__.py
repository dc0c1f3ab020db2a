"""Training a model along a path of strengths, and resuming a path."""

__all__: list[str] = []
