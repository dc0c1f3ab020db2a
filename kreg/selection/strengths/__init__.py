"""Which strengths to try, and penalties whose strength moves."""

__all__: list[str] = []
