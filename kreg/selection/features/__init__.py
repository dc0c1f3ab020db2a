"""Selecting input features: selectors, stability selection, entry order."""

__all__: list[str] = []
