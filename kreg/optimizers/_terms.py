"""What an optimizer that applies penalties has to apply."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from kreg.binding import BoundPenalty
from kreg.binding._applier import PenaltyApplier
from kreg.regularizers import Penalty
from kreg.regularizers._grouping import Grouping
from kreg.regularizers._strength import Strengths


@dataclass(frozen=True)
class Term:
    """A penalty, the variable that it acts on, and its strengths now."""

    penalty: Penalty
    variable: keras.Variable
    strengths: Strengths
    groups: Grouping | None


def terms_of(
    variables: Sequence[keras.Variable], applier: PenaltyApplier
) -> list[Term]:
    """The penalties on `variables`, with their strengths at this step.

    Args:
        variables: the variables that are about to be updated.
        applier: the optimizer that updates them.

    Returns:
        One term for each variable with a kreg penalty.

    Raises:
        ValueError: if a penalty was not bound when the gradient was taken, or
            is bound to another optimizer: it would act twice, or never.
    """
    terms = []
    for variable in variables:
        bound = getattr(variable, "regularizer", None)
        if isinstance(bound, Penalty):
            raise ValueError(
                f"The penalty {bound!r} of `{variable.path}` was not bound "
                "when the gradient was taken, so it would act twice. Call "
                "`kreg.bind(model)`, or pass a kreg callback to `fit`; in a "
                "custom loop, call `kreg.bind(model, optimizer)` before the "
                f"first step. {_aftermath()} Received: an unbound penalty"
            )
        if isinstance(bound, BoundPenalty):
            _check_applier(bound, applier)
            if not bound.suspended:
                terms.append(
                    Term(
                        bound.penalty, variable, bound.strengths(), bound.groups
                    )
                )
    return terms


def _check_applier(bound: BoundPenalty, applier: PenaltyApplier) -> None:
    acting = bound.binding.governing_clock().acting(bound.binding)
    if acting.applier is not applier:
        raise ValueError(
            f"The penalty {bound.penalty!r} of `{bound.path}` follows another "
            "optimizer than the one that updates the weight. Call "
            "`kreg.bind(model, optimizer)` with this one; a choice of several "
            "goes inside: ProximalOptimizer(MultiOptimizer(...)). "
            f"{_aftermath()} Received: optimizer={acting.optimizer!r}"
        )


def _aftermath() -> str:
    if keras.backend.backend() == "jax":
        return (
            "No weight was changed, but on JAX Keras's `fit` drops the weights "
            "of a model whose step raises: make or load the model again."
        )
    return "No weight was changed."
