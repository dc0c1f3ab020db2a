"""How `TargetSparsity` counts zeros and moves strengths."""

__all__: list[str] = []
