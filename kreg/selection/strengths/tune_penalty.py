"""`tune_penalty`: penalty and strength as hyperparameters of KerasTuner."""

from collections.abc import Callable, Mapping
from typing import Any

from kreg._arguments import (
    callable_object,
    instance_of,
    nonempty_text,
    optional,
    positive_number,
    wrong_type,
)
from kreg.regularizers import L1, L2, GroupLasso

_PENALTIES: Mapping[str, Any] = {
    "none": None,
    "L1": L1,
    "L2": L2,
    "GroupLasso": GroupLasso,
}


def tune_penalty(
    hp: Any,
    penalties: Mapping[str, Callable[[float], Any] | None] | None = None,
    *,
    minimum: float = 1e-6,
    maximum: float = 1e-1,
    name: str = "penalty",
) -> Any:
    """Choose a penalty and its strength from KerasTuner's hyperparameters.

    For the tuners of `keras_tuner`: call it where the model is built, and pass
    its result to `kernel_regularizer` or `kreg.attach`. If you search only for
    a penalty, use `kreg.compare` instead: it reuses work between strengths and
    tests whether a difference is significant.

    The hyperparameter `name` is the name of the penalty. Each penalty has its
    own strength, `name_<penalty>_strength`, which is searched only while that
    penalty is chosen.

    Args:
        hp: the `keras_tuner.HyperParameters` of the trial.
        penalties: a mapping from names to functions `strength -> regularizer`,
            with None for no penalty. Defaults to `None`: none, `L1`, `L2` and
            `GroupLasso`.
        minimum: float > 0, the smallest strength. Defaults to `1e-6`.
        maximum: float > `minimum`, the largest strength. The search between
            them is on a logarithmic scale. Defaults to `1e-1`.
        name: the name of the hyperparameter. Defaults to `"penalty"`.

    Returns:
        A regularizer, or None.

    Raises:
        ValueError: if there is no penalty, or the range of strengths is empty.

    Example:

    >>> import kreg
    >>> from unittest.mock import MagicMock
    >>> hp = MagicMock()  # a tuner gives a keras_tuner.HyperParameters
    >>> hp.Choice.return_value, hp.Float.return_value = "L1", 0.01
    >>> kreg.selection.tune_penalty(hp)
    L1(l1=0.01)
    """
    methods = ("Choice", "Float", "conditional_scope")
    if not all(hasattr(hp, method) for method in methods):
        raise wrong_type("hp", "a `keras_tuner.HyperParameters`", hp)
    name = nonempty_text("name", name)
    makers = _PENALTIES
    if penalties is not None:
        expected = "a mapping from names to functions `strength -> regularizer`"
        makers = dict(instance_of("penalties", penalties, Mapping, expected))
        for key, maker in makers.items():
            nonempty_text("penalties", key)
            optional(callable_object, "penalties", maker)
    if not makers:
        raise ValueError(
            f"`penalties` must not be empty. Received: penalties={penalties!r}"
        )
    minimum = positive_number("minimum", minimum)
    if positive_number("maximum", maximum) <= minimum:
        raise ValueError(
            "`maximum` must be above `minimum`. "
            f"Received: minimum={minimum}, maximum={maximum}"
        )
    names = list(makers)
    chosen = hp.Choice(name, names, default=names[0])
    strengths = {}
    for each, make in makers.items():
        if make is not None:
            with hp.conditional_scope(name, [each]):
                strengths[each] = hp.Float(
                    f"{name}_{each}_strength",
                    minimum,
                    float(maximum),
                    sampling="log",
                )
    make = makers[chosen]
    return None if make is None else make(strengths[chosen])
