"""The rules of `kreg.check`, and the facts about a model that they use."""

__all__: list[str] = []
