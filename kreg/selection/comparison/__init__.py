"""Comparing penalties by cross-validation."""

__all__: list[str] = []
