"""Where work runs, where it is kept, and how far it is."""

__all__: list[str] = []
