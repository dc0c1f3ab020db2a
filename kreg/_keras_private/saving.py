"""States and records saved with a model, through Keras's private names."""

import functools
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import keras
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.saving.serialization_lib import SafeModeScope


class SavedState(KerasSaveable):
    """A part of a layer or model whose state Keras saves with its weights.

    A subclass defines `save_own_variables` and `load_own_variables`, as layers
    do. Keras finds the object where it is an attribute of a layer, or in the
    list of `save_with_weights`.
    """

    def _obj_type(self) -> str:
        # Keras searches all attributes but those that every object of this type
        # has. A loss has few.
        return "Loss"


# Keras visits the attributes of a model in the order of their names, and this
# one last. So a state that is also an attribute of a layer is saved there.
SAVED_STATES = "~kreg_saved_states"
"""The attribute of a model that holds its saved states."""


def save_with_weights(model: keras.Model, states: Iterable[SavedState]) -> None:
    """Let Keras save `states` with the weights of `model`.

    A model without these states ignores those in a file. A file that lacks
    them leaves them as they are.
    """
    vars(model).setdefault(SAVED_STATES, []).extend(states)


def drop_saved_states(model: keras.Model) -> None:
    """Undo `save_with_weights`."""
    vars(model).pop(SAVED_STATES, None)


class ModelRecord(SavedState):
    """A text that Keras keeps with a model in its `.keras` file.

    Keras writes and reads it like the vocabulary of a `TextVectorization`, as
    an asset: a file of weights has none. Copies by `copy.deepcopy` or `pickle`
    have it too, because Keras saves and loads a model to copy it.

    Args:
        model: the model, to which it refers weakly.
    """

    file = "record.json"

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)

    @abstractmethod
    def is_needed(self, model: keras.Model) -> bool:
        """Whether there is anything to write."""

    @abstractmethod
    def text(self, model: keras.Model) -> str:
        """The text to write."""

    @abstractmethod
    def restore(self, model: keras.Model, text: str) -> None:
        """Restore the written state; called once the weights are loaded."""

    @property
    def save_assets(self) -> Callable[[str], None]:
        """The function that writes the text to a folder.

        Keras makes a folder for each object that has this attribute.
        """
        model = self._model()
        if model is None or not self.is_needed(model):
            raise AttributeError("There is nothing to save")
        return functools.partial(self._write, model)

    def load_assets(self, folder: str | None) -> None:
        """Read the text from a folder; None if the file has no such folder."""
        path, model = Path(folder or "", self.file), self._model()
        if folder is not None and path.is_file() and model is not None:
            self.restore(model, path.read_text(encoding="utf-8"))

    def _write(self, model: keras.Model, folder: str) -> None:
        Path(folder, self.file).write_text(self.text(model), encoding="utf-8")


# Keras visits it after the layers of the model and the models inside it.
RECORD = "~kreg_record"
"""The attribute of a model that holds its record."""


_Record = TypeVar("_Record", bound=ModelRecord)


def keep_with_models(
    record_class: type[_Record],
) -> Callable[[keras.Model], _Record]:
    """Let Keras save and load a record with every model.

    To save and to load, Keras looks through the attributes of a model. A model
    that is being loaded is a new object, which kreg has not seen. So the record
    is a property of the class `keras.Model`. It is a further attribute, and
    changes none of Keras's own.

    Returns:
        A function that returns the record of a model.
    """
    records: weakref.WeakKeyDictionary[keras.Model, _Record] = (
        weakref.WeakKeyDictionary()
    )

    def record_of(model: keras.Model) -> _Record:
        # Keras knows saved objects by their `id`, so the record must live on.
        if model not in records:
            records[model] = record_class(model)
        return records[model]

    setattr(keras.Model, RECORD, property(record_of))
    return record_of


def trusting() -> AbstractContextManager[Any]:
    """The scope in which Keras loads Python lambdas from configs."""
    return SafeModeScope(safe_mode=False)
