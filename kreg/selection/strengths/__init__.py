"""Which strengths to try, and penalties with a variable strength."""

__all__: list[str] = []
