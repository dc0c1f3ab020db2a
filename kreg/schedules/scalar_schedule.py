"""The base class of kreg's schedules; checks and evaluates schedules."""

from collections.abc import Mapping
from typing import Any, Self, TypeAlias

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kreg._arguments import (
    nonnegative_number,
    refuse_unknown_keys,
    wrong_type,
    wrong_value,
)
from kreg._types import Tensor

Schedule: TypeAlias = float | LearningRateSchedule


def value_dtype() -> str:
    """The dtype of a schedule's value: at least single precision."""
    floatx: str = keras.config.floatx()
    return floatx if floatx == "float64" else "float32"


def number_or_schedule(name: str, value: Any) -> Schedule:
    """Return a schedule as it is, or a number as a non-negative float."""
    if isinstance(value, LearningRateSchedule):
        return value
    if callable(value):
        raise TypeError(
            f"`{name}` must be a non-negative number or a "
            "`keras.optimizers.schedules.LearningRateSchedule`, which can be "
            "saved with the model; subclass it and move the function into its "
            f"`__call__(step)`. Received: {name}={value!r}"
        )
    if isinstance(value, Mapping):
        return _loaded_schedule(name, value)
    return nonnegative_number(name, value)


def _loaded_schedule(name: str, config: Mapping[str, Any]) -> Schedule:
    """The inverse of `serialized`."""
    expected = "a number, a schedule, or the config of a schedule"
    try:
        value = keras.saving.deserialize_keras_object(config)
    except Exception as error:  # a config may name any class
        raise wrong_value(name, expected, config) from error
    if not isinstance(value, LearningRateSchedule):
        raise wrong_type(name, expected, config)
    return value


def serialized(value: Schedule) -> Any:
    """The JSON form of a number or a schedule."""
    if isinstance(value, LearningRateSchedule):
        return keras.saving.serialize_keras_object(value)
    return value


def evaluate(value: Schedule, step: Tensor) -> Tensor:
    """The value of a number or a schedule at `step`, as a scalar tensor."""
    if isinstance(value, LearningRateSchedule):
        value = value(ops.convert_to_tensor(step))
    return ops.cast(value, value_dtype())


class ScalarSchedule(LearningRateSchedule):
    """Base of kreg's schedules; subclasses define `__call__(step)`."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        refuse_unknown_keys(cls, config)
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(
            f"{name}={getattr(self, name)!r}" for name in self.get_config()
        )
        return f"{type(self).__name__}({arguments})"
