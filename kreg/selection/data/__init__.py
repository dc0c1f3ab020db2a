"""The training data: rows, batches, folds and halves."""

__all__: list[str] = []
