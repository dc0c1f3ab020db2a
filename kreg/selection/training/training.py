"""`Training`: how a model is trained at each strength, and how long."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from kreg._arguments import (
    boolean,
    nonempty_text,
    nonnegative_number,
    positive_integer,
)


@dataclass(frozen=True)
class Training:
    """How a model is trained at each strength, and what it is judged by.

    For `kreg.path`, `kreg.compare`, `kreg.selection.stability_selection` and
    the selectors. At each strength training goes on until a minimum, as
    `tolerance` defines it, or until `patience` runs out, or for `epochs`
    passes, whichever comes first. Without `tolerance` and `patience` there are
    exactly `epochs` passes. kreg looks whether to stop after each pass, or
    about every 32 updates where passes are shorter.

    kreg recognises a minimum only with an optimizer that keeps an average of
    gradients (SGD with momentum, Adam, AdamW, Nadam, Adamax), and with batches
    as large as the data, or nearly: the noise of smaller batches stays above
    the tolerance. For linear models, SGD with momentum and all rows in a batch
    comes closest to exact solutions.

    Args:
        epochs: int >= 1, the largest number of passes over the data at each
            strength.
        batch_size: int >= 1, the rows of a batch; None for all. Not used for
            an iterable of batches. Where the optimizer clips gradients,
            batches count by what clipping leaves of each, which may select
            other weights; with None all rows count alike. Defaults to `32`.
        tolerance: float >= 0, the optimality residual at which training stops,
            as a fraction of the norm of the gradient at the first weights.
            For a linear model where this is large because inputs or targets
            are far from zero, it is a fraction of the norm of a gradient that
            pulls every entry by `kreg.strength_max`. None: no residual stops
            it. Defaults to `1e-4`.
        patience: int >= 1. Training stops after so many looks in a row without
            a better `monitor` on the validation data, or without a lower loss
            if there are no validation data. Defaults to `None`: any number.
        monitor: str, the metric by which strengths are compared: one that the
            model is compiled with, `"loss"` or `"data_loss"`. Defaults to
            `"data_loss"`.
        refit: bool, whether each strength is followed by training without the
            penalty, zeros fixed, until a minimum or for `epochs` passes. Its
            figures and weights are then those of the strength. The next
            strength still starts from the weights before the refit. Defaults
            to `False`.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if an argument is out of its range.

    Example:

    >>> import kreg
    >>> training = kreg.selection.Training(20, batch_size=None)
    >>> training.epochs, training.batch_size, training.monitor
    (20, None, 'data_loss')
    """

    epochs: int
    _: KW_ONLY
    batch_size: int | None = 32
    tolerance: float | None = 1e-4
    patience: int | None = None
    monitor: str = "data_loss"
    refit: bool = False

    def __post_init__(self) -> None:
        checks: dict[str, Callable[[str, Any], Any]] = {
            "epochs": positive_integer,
            "batch_size": positive_integer,
            "tolerance": nonnegative_number,
            "patience": positive_integer,
            "refit": boolean,
        }
        for name, check in checks.items():
            value = getattr(self, name)
            if value is not None or name in ("epochs", "refit"):
                object.__setattr__(self, name, check(name, value))
        nonempty_text("monitor", self.monitor, "the name of a metric")


def checked_training(training: object) -> Training:
    """Return `training` if it is a `Training`."""
    if not isinstance(training, Training):
        raise TypeError(
            "`training` must be a `kreg.selection.Training`, such as "
            "`kreg.selection.Training(epochs=20)`. "
            f"Received: training={training!r} (of type "
            f"{type(training).__name__})"
        )
    return training
