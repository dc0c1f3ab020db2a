"""Choosing input features."""

__all__: list[str] = []
