"""The rules of `kreg.check`, one kind of mistake a file."""

__all__: list[str] = []
