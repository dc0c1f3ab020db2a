"""The parts of `RegularizationMonitor`: when it reads and what it logs."""

__all__: list[str] = []
