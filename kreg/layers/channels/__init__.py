"""How channels run through layers, one family of layers a file."""

__all__: list[str] = []
