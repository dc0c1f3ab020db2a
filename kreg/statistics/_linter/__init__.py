"""`kreg.check`: its rules, and the facts about a model that they need."""

__all__: list[str] = []
