"""The base class of every kreg regularizer: a loss term with strengths."""

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol, Self
from weakref import WeakSet

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kreg._arguments import nonnegative_number, refuse_unknown_keys
from kreg._keras_private import SavedState, in_symbolic_scope
from kreg._types import Tensor
from kreg.foreign_objects import described
from kreg.regularizers.argument import serialized_argument
from kreg.regularizers.clock import current_clock
from kreg.regularizers.grouping import Grouping, Layout
from kreg.regularizers.norms import summable, summable_dtype
from kreg.regularizers.strength import (
    Strength,
    Strengths,
    cast_strengths,
    strength_at,
)

MEMORY_SIZE = 24
"""The number of values that a callback can store in a penalty it steers."""


class SteeringObserver(Protocol):
    """An object that holds the multipliers of penalties for a model."""

    def steering_changed(
        self,
        penalty: "StrengthRegularizer",
        multiplier: float,
        memory: Sequence[float],
    ) -> None:
        """React to a new multiplier and memory of `penalty`."""

    def refresh_steering(self) -> None:
        """Pass values restored by a checkpoint to the penalties, by `steer`."""


class StrengthRegularizer(SavedState, keras.regularizers.Regularizer, ABC):
    """Base of kreg's regularizers: functions of a weight and of strengths.

    A subclass declares each argument of its constructor in its class body,
    under the argument's name: a strength as a `Strength`, any other argument as
    an `Argument` or a property. The config, copies and the `repr` follow from
    these declarations. If one is missing, defining the class raises an error.

    Args:
        multiplier: float >= 0, which multiplies every strength; callbacks steer
            it. Defaults to `1.0`.
    """

    needs_layout: bool = False
    """Whether `grouping` needs the layout of the weight in its layer."""

    ties: str | None = None
    """The kind of its ties across weights, such as `"heads"`, or None."""

    def __init__(self, *, multiplier: float = 1.0) -> None:
        self._observers: WeakSet[SteeringObserver] = WeakSet()
        self._multiplier = nonnegative_number("multiplier", multiplier)
        self._memory: tuple[float, ...] = ()
        self._has_warned_unbound = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, parameter in inspect.signature(cls).parameters.items():
            if parameter.kind not in (
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                inspect.Parameter.KEYWORD_ONLY,
            ) or not hasattr(cls, name):
                raise TypeError(
                    f"`{cls.__name__}` must declare each argument of its "
                    "constructor by name in its class body, or its config "
                    f"would lack it: `{name} = Argument(check)`, or "
                    f"`{name} = Strength()` for a strength. "
                    f"Received: the argument `{parameter}`"
                )

    @abstractmethod
    def value(
        self,
        w: Tensor,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        """The term that `w` adds to the loss at given strengths.

        Args:
            w: float tensor of any shape.
            strengths: the strengths by name.
            groups: the result of `grouping` for the weight. Defaults to `None`:
                the result for a weight without a layer.

        Returns:
            A scalar tensor with finite gradients everywhere.
        """

    @abstractmethod
    def grouping(
        self, shape: Sequence[int], layout: Layout | None = None
    ) -> Grouping | None:
        """The groups of entries of a weight that become zero together.

        Args:
            shape: the shape of the weight.
            layout: the units and inputs of the weight in the layer that owns
                it. Defaults to `None`: the layer is unknown.

        Returns:
            The groups, or None if every entry becomes zero by itself.

        Raises:
            ValueError: if the regularizer does not fit such a weight.
        """

    @classmethod
    def strength_names(cls) -> tuple[str, ...]:
        """The names of the strengths, as arguments and attributes."""
        return tuple(
            name
            for base in reversed(cls.__mro__)
            for name, attribute in vars(base).items()
            if isinstance(attribute, Strength)
        )

    @property
    def multiplier(self) -> float:
        """The number that multiplies every strength.

        It is saved with the config and with the weights. Once the regularizer
        is bound to a model, it can be set at any time, and the compiled train
        step uses the new value.
        """
        return self.steering[0]

    @multiplier.setter
    def multiplier(self, value: float) -> None:
        self.steer(value, self.steering[1])

    @property
    def steering(self) -> tuple[float, tuple[float, ...]]:
        """The multiplier, and the memory of the callback that steers it."""
        for observer in list(self._observers):
            observer.refresh_steering()
        return self._multiplier, self._memory

    def steer(self, multiplier: float, memory: Sequence[float]) -> None:
        """Set the multiplier and the memory of the callback that steers it.

        Both are saved with the weights, so that a resumed training goes on as
        if it had not been interrupted.

        Args:
            multiplier: float >= 0.
            memory: up to `MEMORY_SIZE` floats. NaNs at its end are left out.
        """
        multiplier = nonnegative_number("multiplier", multiplier)
        numbers = list(memory)
        while numbers and math.isnan(numbers[-1]):
            numbers.pop()
        if len(numbers) > MEMORY_SIZE:
            raise ValueError(
                f"`memory` must hold at most {MEMORY_SIZE} numbers. "
                f"Received: memory={memory!r}"
            )
        self._multiplier, self._memory = multiplier, tuple(numbers)
        for observer in list(self._observers):
            observer.steering_changed(self, self._multiplier, self._memory)

    @property
    def is_scheduled(self) -> bool:
        """Whether a strength follows a schedule."""
        return any(
            isinstance(getattr(self, name), LearningRateSchedule)
            for name in self.strength_names()
        )

    def observe(self, observer: SteeringObserver) -> None:
        """Notify `observer` of every new multiplier; it is held weakly."""
        self._observers.add(observer)

    def save_own_variables(self, store: Any) -> None:
        """Save the multiplier; Keras calls this when it saves weights.

        Args:
            store: the mapping that Keras saves.
        """
        multiplier, memory = self.steering
        store[self._multiplier_key()] = np.float64(multiplier)
        if memory:
            store["memory"] = np.asarray(memory, "float64")

    def load_own_variables(self, store: Any) -> None:
        """Restore the multiplier; Keras calls this when it loads weights.

        Nothing changes if the file has no multiplier for this class.

        Args:
            store: the mapping that Keras has loaded.
        """
        keys = store.keys()
        if self._multiplier_key() in keys:
            memory = np.asarray(store["memory"]) if "memory" in keys else ()
            self.steer(
                float(store[self._multiplier_key()]),
                [float(number) for number in memory],
            )

    def _multiplier_key(self) -> str:
        return f"multiplier_of_{type(self).__name__}"

    def strengths(
        self, step: Tensor = 0, multiplier: Tensor | float | None = None
    ) -> dict[str, Tensor | float]:
        """The strengths at an optimizer iteration.

        Args:
            step: int or scalar tensor, the optimizer iteration. Defaults to 0.
            multiplier: float or scalar tensor. Defaults to `self.multiplier`.

        Returns:
            A dict from the name of each strength to `base(step) * multiplier`,
            a float or a scalar tensor.
        """
        if multiplier is None:
            multiplier = self.multiplier
        return {
            name: strength_at(getattr(self, name), step, multiplier)
            for name in self.strength_names()
        }

    def evaluate(
        self,
        w: Tensor,
        step: Tensor,
        multiplier: Tensor | float,
        groups: Grouping | None = None,
    ) -> Tensor:
        """The loss term of `w` at a step: a scalar of at least float32."""
        w = summable(w)
        strengths = self.strengths(step, multiplier)
        value = self.value(w, cast_strengths(strengths, w.dtype), groups)
        return ops.zeros((), w.dtype) + value

    def __call__(self, x: Tensor, groups: Grouping | None = None) -> Tensor:
        """The loss term of a tensor, at the running step of its model.

        Args:
            x: tensor, array or variable of any shape.
            groups: the groups of entries. Defaults to `None`: the result of
                `grouping` for a weight without a layer.

        Returns:
            A scalar tensor of at least float32; NaN if `x` holds NaN.
        """
        if self.needs_layout and in_symbolic_scope():
            return ops.zeros((), summable_dtype(x))
        clock = current_clock()
        if clock is not None:
            multiplier = clock.multiplier(self)
            return self.evaluate(x, clock.step(), multiplier, groups)
        if self.is_scheduled:
            self.warn_unbound("it is not bound to a model")
        return self.evaluate(x, 0, self.multiplier, groups)

    def warn_unbound(self, reason: str) -> None:
        """Warn once that the schedule does not advance; `reason` says why."""
        if self._has_warned_unbound or in_symbolic_scope():
            return
        self._has_warned_unbound = True
        warnings.warn(
            f"{self!r} was evaluated at step 0 because {reason}, so its "
            "schedule does not advance. Call `kreg.bind(model)` after "
            "`compile` (in a custom loop `kreg.bind(model, optimizer)`), or "
            "pass a kreg callback to `fit`.",
            stacklevel=3,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name, without those that are None."""
        return {
            name: serialized_argument(name, value)
            for name, value in self._arguments().items()
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        refuse_unknown_keys(cls, config)
        return cls(**config)

    def __reduce__(self) -> tuple[Any, ...]:
        # Copy by arguments, not by config: some arguments cannot be saved.
        return partial(type(self), **self._arguments()), ()

    def __repr__(self) -> str:
        arguments = ", ".join(
            f"{name}={described(value) if callable(value) else repr(value)}"
            for name, value in self._arguments().items()
            if name != "multiplier" or value != 1.0
        )
        return f"{type(self).__name__}({arguments})"

    def _arguments(self) -> dict[str, Any]:
        names = inspect.signature(type(self)).parameters
        values = {name: getattr(self, name) for name in names}
        return {n: value for n, value in values.items() if value is not None}
