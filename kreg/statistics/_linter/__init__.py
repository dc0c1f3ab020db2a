"""The rules of `kreg.check`, and the facts about a model that they ask for."""

__all__: list[str] = []
