"""How results are shown and saved: the classes that all results share."""

__all__: list[str] = []
