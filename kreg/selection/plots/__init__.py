"""What paths, comparisons and stability selection look like."""

__all__: list[str] = []
