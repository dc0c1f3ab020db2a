"""The step of a log: updates of an optimizer, or batches."""

import warnings

import keras
from keras import ops

from kreg.binding.binding import accumulation_steps, weight_optimizers


class LogStep:
    """Counts the steps of a log, over several calls of `fit`.

    The step is the number of updates of `model.optimizer`. If this updates none
    of the weights, it is the largest number of updates of the optimizers that
    do. If no such optimizer is known, it is the number of batches.
    """

    def __init__(self) -> None:
        self._batches = self._batches_before = 0
        self._has_ended_epoch = self._has_warned = False
        self._is_of_batches = False

    def begin(self) -> None:
        """Begin another `fit`."""
        self._batches_before += self._batches
        self._batches = 0

    def count(self, batches: int) -> None:
        """Set the number of batches that the running `fit` has trained on."""
        self._batches = batches

    def end_epoch(self) -> None:
        """Note the end of an epoch: by now an optimizer has made updates."""
        self._has_ended_epoch = True

    def now(self, model: keras.Model) -> int:
        """The present step of `model`."""
        optimizers = weight_optimizers(model)
        step = int(ops.convert_to_numpy(optimizers.step()))
        batches = self._batches_before + self._batches
        if not self._batches:
            return batches if self._is_of_batches else step
        leading = optimizers.leading
        self._is_of_batches = not optimizers.are_known or (
            step == 0
            and self._has_ended_epoch
            and not any(map(_updates_late, leading))
        )
        if self._is_of_batches:
            self._warn(
                model,
                "batches. Schedules of penalties stand still: say which "
                "optimizer updates which part, "
                "`kreg.bind(model, {model.part: optimizer, ...})`",
            )
            return batches
        if optimizers.own not in leading:
            names = ", ".join(type(o).__name__ for o in leading)
            self._warn(
                model,
                f"the updates of the optimizers that do ({names}), the largest "
                "number of them",
            )
        return step

    def _warn(self, model: keras.Model, what: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"`{model.name}.optimizer` updates none of the weights, so the "
                f"steps of the log are {what}.",
                stacklevel=2,
            )


def _updates_late(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the first update may come after many batches."""
    return accumulation_steps(optimizer) > 1 or isinstance(
        optimizer, keras.optimizers.LossScaleOptimizer
    )
