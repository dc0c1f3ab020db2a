"""Running a function at the very end of `fit`, after all callbacks."""

from collections.abc import Callable
from typing import Any

import keras


def after_all_callbacks(
    callback: keras.callbacks.Callback, function: Callable[[], None]
) -> bool:
    """Call `function` once all callbacks of the running `fit` have ended.

    A callback may change weights in `on_train_end`, as `EarlyStopping` with
    `restore_best_weights` does. Keras calls its own `History` after all other
    callbacks, so `function` is called at the end of `History`.

    Args:
        callback: a callback of this `fit`.
        function: what to call.

    Returns:
        Whether it will be called. It is not if the model has no `History` of
        this `fit`. Callbacks of one `fit` share their `params`; in a loop of
        the user's own they may have none, and then no `History` is known to
        belong to the loop.
    """
    history: Any = getattr(callback.model, "history", None)
    params = callback.params
    if params is None or getattr(history, "params", None) is not params:
        return False
    end = history.on_train_end

    def end_all(logs: dict[str, Any] | None = None) -> None:
        history.on_train_end = end
        end(logs)
        function()

    history.on_train_end = end_all
    return True
