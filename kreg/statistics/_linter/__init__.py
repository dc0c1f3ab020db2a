"""What `kreg.check` looks for, and what it must know to tell."""

__all__: list[str] = []
