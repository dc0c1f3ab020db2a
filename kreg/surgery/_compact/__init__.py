"""Removing the units of a model that its outputs do not depend on."""

__all__: list[str] = []
