"""`Stopping`: ends training at one strength by optimality or patience."""

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras

from kreg.binding.binding import innermost_optimizer
from kreg.optimizers.gradient_memory import gradient_memory


class Stopping(keras.callbacks.Callback):
    """Ends training at a minimum, or when a figure stops improving.

    Args:
        optimality: float, the optimality residual below which training stops;
            None to ignore the residual.
        patience: int, the number of checks in a row without improvement after
            which training stops; None for no limit.
        monitor: the name of the figure in the logs.
        residual_of: a function that returns the residual of a model, or None
            if unknown.
    """

    def __init__(
        self,
        optimality: float | None,
        patience: int | None,
        monitor: str,
        residual_of: Callable[[keras.Model], float | None],
    ) -> None:
        super().__init__()
        self._optimality = optimality
        self._patience = patience
        self._monitor = monitor
        self._residual_of = residual_of
        self._best = math.inf
        self._waited = 0
        self.looks = 0
        self.converged = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check whether to stop."""
        self.looks = epoch + 1
        if self._is_optimal() or self._is_out_of_patience(logs or {}):
            self.converged = True
            self.model.stop_training = True

    def _is_optimal(self) -> bool:
        if self._optimality is None:
            return False
        residual = self._residual_of(self.model)
        return residual is not None and residual <= self._optimality

    def _is_out_of_patience(self, logs: dict[str, Any]) -> bool:
        if self._patience is None:
            return False
        value = float(logs[self._monitor])
        if more_is_better(self._monitor):
            value = -value
        if value < self._best:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        return self._waited >= self._patience


def warn_of_unknown_optimality(model: keras.Model) -> None:
    """Warn if no tolerance can end the training of a model.

    Args:
        model: a compiled model, whose optimizer is built.
    """
    variables = model.trainable_variables
    if None not in [gradient_memory(model.optimizer, v) for v in variables]:
        return
    inner = innermost_optimizer(model.optimizer)
    warnings.warn(
        "`tolerance` cannot end a training, because the optimality of the "
        f"weights is not known: {type(inner).__name__} keeps no average of "
        "past gradients that kreg knows. Each point takes all its epochs. "
        "Set `patience` instead, or compile with SGD with momentum or Adam. "
        "For an optimizer of your own, pass `gradient_memory` to "
        "`kreg.optimizers.register_optimizer`.",
        stacklevel=2,
    )


METRICS_OF_ALL_MODELS = ("data_loss", "loss")


def refuse_unknown_monitor(monitor: str, metrics: Iterable[str]) -> None:
    """Raise if the monitor is not among the metrics of a model."""
    if monitor not in metrics:
        raise ValueError(
            "`monitor` must be a metric that the model is compiled with, "
            f"such as {', '.join(map(repr, sorted(metrics)))}. "
            f"Received: monitor={monitor!r}"
        )


def more_is_better(metric: str) -> bool:
    """Whether larger values of a metric of this name are better."""
    name = metric.lower()
    return "loss" not in name and any(part in name for part in _MORE_IS_BETTER)


_MORE_IS_BETTER = ("acc", "auc", "precision", "recall", "f1", "r2", "iou")
