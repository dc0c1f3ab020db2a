"""Keras's layers: units and inputs, multiply-adds, and channels in a call."""

__all__: list[str] = []
