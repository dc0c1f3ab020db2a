"""Files that are written whole, and files that TensorBoard reads."""

__all__: list[str] = []
