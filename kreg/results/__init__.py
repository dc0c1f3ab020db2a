"""What results have in common: how they are shown and saved."""

__all__: list[str] = []
