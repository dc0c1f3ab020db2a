"""The parts of `TargetSparsity`: how it counts zeros and moves strengths."""

__all__: list[str] = []
