"""What `RegularizationMonitor` logs, when and how."""

__all__: list[str] = []
