"""`Training`: how, and for how long, a model is trained at each strength."""

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
    """How a model is trained at each strength, and which metric judges it.

    For `kreg.path`, `kreg.compare`, `kreg.selection.stability_selection` and
    the selectors. At each strength training goes on until it reaches a minimum,
    as `tolerance` defines it, until `patience` runs out, or for `epochs`
    passes, whichever comes first. Without `tolerance` and `patience` there are
    exactly `epochs` passes. kreg checks whether to stop after each pass, or
    about every 32 updates if passes are shorter.

    kreg recognizes a minimum only with an optimizer that keeps an average of
    gradients (SGD with momentum, Adam, AdamW, Nadam, Adamax), and with batches
    (almost) as large as the data: the noise of smaller batches exceeds the
    tolerance. For linear models, SGD with momentum and all rows in one batch
    comes closest to exact solutions.

    Args:
        epochs: int >= 1, the maximum number of passes over the data at each
            strength.
        batch_size: int >= 1, the number of rows in a batch; None for all rows.
            Not used for an iterable of batches. If the optimizer clips
            gradients, batches are weighted by the fraction of the gradient that
            is left, which may select other weights; with None all rows count
            equally. Defaults to `32`.
        tolerance: float >= 0, the optimality residual at which training stops,
            as a fraction of the norm of the gradient at the initial weights. In
            a linear model that norm may be large only because inputs or targets
            are far from zero. Then the reference is the norm of a gradient
            whose entries are all as large as `kreg.strength_max`. None to
            ignore the residual. Defaults to `1e-4`.
        patience: int >= 1, the number of checks in a row after which training
            stops if `monitor` on the validation data has not improved, or the
            loss if there are no validation data. Defaults to `None`: no limit.
        monitor: str, the metric by which strengths are compared: one that the
            model is compiled with, `"loss"` or `"data_loss"`. Defaults to
            `"data_loss"`.
        refit: bool, whether training at each strength is followed by training
            without the penalty and with fixed zeros, to a minimum or for
            `epochs` passes. The point then has the figures and weights of the
            refit. The next strength still starts from the weights before the
            refit. Defaults to `False`.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

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
