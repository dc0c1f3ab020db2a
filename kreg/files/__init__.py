"""Writing files: atomic writes, and TensorBoard event files."""

__all__: list[str] = []
