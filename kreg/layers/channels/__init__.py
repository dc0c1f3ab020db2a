"""The channels of a model, and what a call does to them."""

__all__: list[str] = []
