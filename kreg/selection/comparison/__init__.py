"""Which penalty, and how strong: a comparison by cross-validation."""

__all__: list[str] = []
