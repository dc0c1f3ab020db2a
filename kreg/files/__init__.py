"""Writing files: atomically, and for TensorBoard."""

__all__: list[str] = []
