"""Where paths run, in which folder they are kept, and their progress."""

__all__: list[str] = []
