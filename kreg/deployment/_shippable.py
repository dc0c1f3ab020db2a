"""The model to write without kreg: the user's own, or a copy of it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from kreg.foreign_objects import result_or_none
from kreg.surgery import compact as compacted
from kreg.surgery.outputs import unchanged_state
from kreg.surgery.stripped_copy import places_of_kreg, stripped_copy
from kreg.surgery.stripping import set_aside, uncompiled


@contextmanager
def shippable(
    model: keras.Model, kind: str, compact: bool
) -> Iterator[keras.Model]:
    """A model without kreg, for Keras to write while the block runs.

    It is the given model with kreg's objects removed for the time, so that
    Keras can write any model that it could write otherwise. A copy is used only
    if units are removed, or if the model's config still contains an object of
    kreg.

    Args:
        model: a built model, called before.
        kind: a name in `FORMATS`.
        compact: whether to remove dead units.

    Raises:
        ValueError: if a copy is needed and cannot be made.
    """
    with set_aside(model), unchanged_state(model):
        if compact:
            yield compacted(model)
            return
        if kind != "keras":
            yield model
            return
        with uncompiled(model):
            if not _shows_kreg(model):
                yield model
                return
    yield stripped_copy(model)


def _shows_kreg(model: keras.Model) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        serialized = result_or_none(
            lambda: keras.saving.serialize_keras_object(model)
        )
    return next(places_of_kreg(serialized), None) is not None
