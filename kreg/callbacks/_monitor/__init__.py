"""The parts of `RegularizationMonitor`: when it reads, what it logs."""

__all__: list[str] = []
