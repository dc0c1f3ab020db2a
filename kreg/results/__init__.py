"""The base classes of results: how they are shown and saved."""

__all__: list[str] = []
