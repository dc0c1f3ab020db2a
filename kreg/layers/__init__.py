"""What kreg knows of Keras's layers: one table."""

__all__: list[str] = []
