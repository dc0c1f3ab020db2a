"""The rows that models are trained on, in batches, folds and halves."""

__all__: list[str] = []
