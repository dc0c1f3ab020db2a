"""`Term`: a penalty that an optimizer applies, and its weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from kreg.binding import BoundPenalty
from kreg.binding.binding import (
    BoundTiePart,
    PenaltyApplier,
    penalty_applier,
)
from kreg.binding.step_record import record_applied
from kreg.binding.ties import Tie, TiePart
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.strength import Strengths
from kreg.regularizers.tied_groups import TiedGroups


@dataclass(frozen=True)
class Term:
    """A penalty with its strengths at the running step, and its weights.

    Args:
        penalty: the penalty.
        strengths: its strengths.
        variables: the weights that it acts on together: several for a tie, one
            for any other penalty.
        groups: the groups of entries that the penalty acts on, or None; for a
            tie, groups that span its weights.
    """

    penalty: Penalty
    strengths: Strengths
    variables: tuple[keras.Variable, ...]
    groups: Grouping | TiedGroups | None


def terms_of(
    variables: Sequence[keras.Variable], applier: PenaltyApplier
) -> list[Term]:
    """The penalties on `variables`, with their strengths at this step.

    Args:
        variables: the variables that are about to be updated.
        applier: the optimizer that updates them.

    Returns:
        One term for each variable with a kreg penalty of its own, and one for
        each tie.

    Raises:
        ValueError: if a penalty was not bound when the gradient was taken, so
            that it would act twice; if it is bound to another optimizer, so
            that it would never act; or if the optimizer updates only some of
            the weights of a tie.
    """
    terms = []
    ties: set[int] = set()
    for variable in variables:
        bound = getattr(variable, "regularizer", None)
        if isinstance(bound, (Penalty, TiePart)):
            raise _unbound(bound, variable)
        if not isinstance(bound, BoundPenalty):
            continue
        _check_applier(bound, applier)
        record_applied(bound)
        if not isinstance(bound, BoundTiePart):
            if not bound.suspended:
                terms.append(
                    Term(
                        bound.penalty,
                        bound.strengths(),
                        (variable,),
                        bound.groups,
                    )
                )
        elif bound.part.is_acting and id(bound.part.tie) not in ties:
            ties.add(id(bound.part.tie))
            terms.append(_term_of_tie(bound, variables))
    return terms


def _term_of_tie(
    bound: BoundTiePart, updated: Sequence[keras.Variable]
) -> Term:
    tie = bound.part.tie
    parts = tie.acting_parts()
    ids = {id(variable) for variable in updated}
    missing = [p.variable.path for p in parts if id(p.variable) not in ids]
    if missing:
        raise _not_updated_together(tie, missing)
    return Term(
        tie.penalty,
        bound.strengths(),
        tuple(part.variable for part in parts),
        tie.groups(parts),
    )


def _unbound(
    regularizer: Penalty | TiePart, variable: keras.Variable
) -> ValueError:
    penalty = (
        regularizer.penalty if isinstance(regularizer, TiePart) else regularizer
    )
    return ValueError(
        f"The penalty {penalty!r} of `{variable.path}` was not bound "
        "when the gradient was taken, so it would act twice. Call "
        "`kreg.bind(model)`, or pass a kreg callback to `fit`; in a "
        "custom loop, call `kreg.bind(model, optimizer)` before the "
        f"first step. {state_after_error()} "
        "Received: an unbound penalty"
    )


def _not_updated_together(tie: Tie, missing: Sequence[str]) -> ValueError:
    return ValueError(
        f"The penalty {tie.penalty!r} of `{tie.path}` ties weights that one "
        "optimizer must update in one step. Update all of them by the same "
        "ProximalOptimizer (a choice of several goes inside: "
        "ProximalOptimizer(MultiOptimizer(...))), or freeze the others "
        f"(`variable.trainable = False`). {state_after_error()} Received: a "
        f"step without {', '.join(f'`{path}`' for path in missing)}"
    )


def _check_applier(bound: BoundPenalty, applier: PenaltyApplier) -> None:
    optimizer = bound.clock().optimizer_of(bound)
    if penalty_applier(optimizer) is not applier:
        raise ValueError(
            f"The penalty {bound.penalty!r} of `{bound.path}` follows another "
            "optimizer than the one that updates the weight. Call "
            "`kreg.bind(model, optimizer)` with this one, or, for the parts of "
            "a model, `kreg.bind(model, {model.part: optimizer, ...})`; a "
            "choice of several goes inside: "
            "ProximalOptimizer(MultiOptimizer(...)). "
            f"{state_after_error()} Received: optimizer={optimizer!r}"
        )


def state_after_error() -> str:
    """A sentence on the state of the weights after a step has raised."""
    if keras.backend.backend() == "jax":
        return (
            "No weight was changed, but on JAX Keras's `fit` drops the weights "
            "of a model whose step raises: make or load the model again."
        )
    return "No weight was changed."
