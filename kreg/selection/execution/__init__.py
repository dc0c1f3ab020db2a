"""Where paths run, where they are saved, and how progress is shown."""

__all__: list[str] = []
