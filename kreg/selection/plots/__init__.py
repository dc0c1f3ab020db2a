"""Plots of paths, comparisons and stability selection."""

__all__: list[str] = []
