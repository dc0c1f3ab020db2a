"""`StrengthScheduler`: the callback that sets a multiplier every epoch."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from kreg._arguments import nonnegative_number, optional, verbosity
from kreg.binding.bound_models import ensure_bound
from kreg.binding.weights import Weights, chosen_penalties, named_weights


class StrengthScheduler(keras.callbacks.Callback):
    """Sets the multiplier of strengths at the start of every epoch.

    It does for strengths what `keras.callbacks.LearningRateScheduler` does for
    the learning rate, without retracing the train step. Keras saves the
    multiplier with the model and with its weights, so it survives loading a
    model and resuming with `keras.callbacks.BackupAndRestore`. To change the
    strength every step, use a schedule of `kreg.schedules` instead.

    Formula: `strength = base(step) * function(epoch, multiplier)`.

    Args:
        function: callable that takes the epoch (int, from 0) and returns the
            new multiplier (float >= 0). If it requires a second positional
            argument, or its second parameter or one for keywords only is named
            `multiplier`, it also gets the multiplier so far (float).
        weights: the weights to steer, an iterable of variables and layers of
            the model. If several weights share a penalty, name all of them or
            none. Defaults to `None`: all weights with a kreg penalty.
        verbose: 0 or 1, whether to print each new multiplier. Defaults to 0.

    Raises:
        TypeError: if `function` is not callable, or returns no number.
        ValueError: before training, if `weights` has no kreg penalty, or
            shares one with weights that it does not name; during training, if
            `function` returns a negative or non-finite number.

    Example:

    >>> import keras, kreg, numpy
    >>> penalty = kreg.L2(0.1)
    >>> model = keras.Sequential([keras.Input((2,)),
    ...     keras.layers.Dense(1, kernel_regularizer=penalty)])
    >>> model.compile("sgd", "mse")
    >>> double = kreg.callbacks.StrengthScheduler(
    ...     lambda epoch, multiplier: 2.0 * multiplier)
    >>> history = model.fit(numpy.zeros((4, 2)), numpy.zeros((4, 1)), epochs=3,
    ...     callbacks=[double], verbose=0)
    >>> history.history["strength_multiplier"]
    [2.0, 4.0, 8.0]
    >>> penalty.get_config()
    {'l2': 0.1, 'multiplier': 8.0}
    """

    def __init__(
        self,
        function: Callable[..., float],
        weights: Weights | None = None,
        *,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        if not callable(function):
            raise TypeError(
                "`function` must be callable: function(epoch, multiplier). "
                f"Received: function={function!r}"
            )
        self.function = function
        self.weights = optional(named_weights, "weights", weights)
        self.verbose = verbosity("verbose", verbose)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        ensure_bound(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._penalties = tuple(chosen_penalties(self.model, self.weights))

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        for penalty in self._penalties:
            after = _called(self.function, epoch, penalty.multiplier)
            penalty.multiplier = nonnegative_number(
                "function(epoch, multiplier)", after
            )
        if self.verbose:
            values = sorted({p.multiplier for p in self._penalties})
            print(f"\nEpoch {epoch + 1}: strength multiplier {values}")

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        multipliers = {penalty.multiplier for penalty in self._penalties}
        if logs is not None and len(multipliers) == 1:
            logs["strength_multiplier"] = multipliers.pop()


def _called(
    function: Callable[..., float], epoch: int, multiplier: float
) -> float:
    """What a function returns that takes the epoch, and perhaps a multiplier.

    A second parameter with a default and another name is something else, such
    as `out` of `numpy.exp`.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature
        return function(epoch)
    parameters = signature.parameters
    named = parameters.get("multiplier")
    if "multiplier" in getattr(function, "keywords", ()):
        return function(epoch)  # a partial, in which the user has bound it
    if named is not None and named.kind is named.KEYWORD_ONLY:
        return function(epoch, multiplier=multiplier)
    positional = [
        parameter
        for parameter in parameters.values()
        if parameter.kind
        in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) < 2:
        return function(epoch)
    second = positional[1]
    if second.default is second.empty or second.name == "multiplier":
        return function(epoch, multiplier)
    return function(epoch)
