"""Penalties whose strength moves, and the strengths to try."""

__all__: list[str] = []
