"""The channels of a model, followed through its calls."""

__all__: list[str] = []
