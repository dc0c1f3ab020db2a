"""What each kind of layer does to channels, one family a file."""

__all__: list[str] = []
