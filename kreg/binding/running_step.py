"""One run of a step: its logs, and the variables before and after it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras

Step = Callable[..., Any]


class RunningStep:
    """One run of a training or test step, on TensorFlow and torch.

    Args:
        model: the model.
        args: the arguments of the step.
    """

    def __init__(self, model: keras.Model, args: tuple[Any, ...]) -> None:
        self._model = model
        self._args = args
        self.logs: Any = None

    @property
    def data(self) -> Any:
        """The batch."""
        return self._args[-1]

    def scope(self) -> AbstractContextManager[Any]:
        """The scope in which variables have their values around the step."""
        return nullcontext()

    def update_watch(self) -> Callable[[keras.Variable], bool]:
        """Return a function that tells whether the step may update a weight."""
        if keras.backend.backend() == "torch":
            from kreg.binding import _torch

            return _torch.update_watch(self._model.trainable_weights)
        from kreg.binding import _tensorflow

        return _tensorflow.may_be_updated

    def run(self, step: Step) -> None:
        """Run the step, and keep its logs."""
        self.logs = step(*self._args)

    def result(self, logs: Any) -> Any:
        """The step's return value with these logs."""
        return logs
