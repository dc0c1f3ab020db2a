"""Idle penalties: those that no training step of a model has applied."""

import weakref
from collections.abc import Callable
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

import keras

from kreg.binding.binding import BoundRegularizer, ObservedRegularizer
from kreg.binding.step_record import StepRecord


class Idleness(Enum):
    """Why a penalty never acts."""

    UNREAD = "the loss leaves it out"
    NOT_UPDATED = "the step does not update its weight"
    NO_GRADIENT = "an optimizer without proximal steps updates its weight"


class TrainingSteps:
    """Which penalties the steps of one training function have applied.

    A new training function, as after `compile`, starts a new record.

    Args:
        function: the training function.

    Attributes:
        acting: the `id` of each weight whose penalty has acted.
        idle: for each other weight, by its `id`, why its penalty did not act
            in the last step.
    """

    def __init__(self, function: Any) -> None:
        # Weakly, because the function holds the model.
        self._function = None if function is None else weakref.ref(function)
        self.acting: set[int] = set()
        self.idle: dict[int, Idleness] = {}

    def is_of(self, function: Any) -> bool:
        """Whether `function` is the training function."""
        return function is not None and (
            self._function is not None and self._function() is function
        )


_trainings: WeakKeyDictionary[keras.Model, TrainingSteps] = WeakKeyDictionary()


def note_training_step(
    model: keras.Model,
    record: StepRecord,
    is_updated: Callable[[keras.Variable], bool],
) -> None:
    """Note which penalties of `model` have acted in a training step.

    Args:
        model: a bound model.
        record: the record of the step, which has ended.
        is_updated: whether the step may have updated a weight.
    """
    training = _trainings.get(model)
    if training is None or not training.is_of(model.train_function):
        training = _trainings[model] = TrainingSteps(model.train_function)
    for variable in model.trainable_weights:
        reason = _idleness(variable, record, is_updated)
        if reason is None:
            training.acting.add(id(variable))
        else:
            training.idle[id(variable)] = reason


def _idleness(
    variable: keras.Variable,
    record: StepRecord,
    is_updated: Callable[[keras.Variable], bool],
) -> Idleness | None:
    regularizer = variable.regularizer
    if (
        not isinstance(regularizer, (BoundRegularizer, ObservedRegularizer))
        or id(regularizer) in record.applied
    ):
        return None
    if not is_updated(variable):
        return Idleness.NOT_UPDATED
    read = record.reads.get(id(regularizer))
    if read is None:
        return Idleness.UNREAD
    return None if read.passes_gradient else Idleness.NO_GRADIENT


def idle_weights(model: keras.Model) -> dict[int, Idleness]:
    """The weights whose penalties have not acted in any training step.

    Args:
        model: any model.

    Returns:
        Why each penalty does not act, by the `id` of its weight. Empty unless
        the model is bound and has run a training step since it was compiled.
    """
    if not has_trained(model):
        return {}
    acting: set[int] = set()
    for other in _trainings.values():
        acting |= other.acting
    return {
        weight: reason
        for weight, reason in _trainings[model].idle.items()
        if weight not in acting
    }


def has_trained(model: keras.Model) -> bool:
    """Whether `model` has run a noted training step since it was compiled."""
    training = _trainings.get(model)
    return training is not None and training.is_of(model.train_function)


def forget_training_steps(model: keras.Model) -> None:
    """Discard the record of the training steps of `model`."""
    _trainings.pop(model, None)
