"""A function whose models are all of one kind."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from kreg.selection._building import refuse_other_architecture


@dataclass(frozen=True)
class OneArchitecture:
    """Makes models as `build_model` does, and refuses one of another kind.

    Args:
        build_model: makes the models.
        known: what tells their architecture from others.
    """

    build_model: Callable[[], keras.Model]
    known: str

    def __call__(self) -> keras.Model:
        """A new model.

        Raises:
            ValueError: if it is of another architecture.
        """
        model = self.build_model()
        if model.built and model.compiled:
            refuse_other_architecture(self.known, model)
        return model
