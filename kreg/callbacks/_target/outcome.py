"""Whether a sparsity has reached its target, and the warnings if not."""

import warnings
from collections.abc import Iterable

from kreg.callbacks._target.steering import Steering
from kreg.callbacks._target.training_progress import TrainingProgress

# The last part of a training in which the callback may end it.
_WINDOW = 0.02
# The largest distance from the target at which training ends, at the start of
# that part and at its end.
_FIRST_TOLERANCE, _LAST_TOLERANCE = 0.0005, 0.004


def may_end(progress: TrainingProgress) -> bool:
    """Whether so little of a training is left that the callback may end it."""
    return (
        progress.batches is not None
        and progress.is_last_epoch
        and progress.now >= 1.0 - _WINDOW
    )


def are_close_enough(steerings: Iterable[Steering], progress: float) -> bool:
    """Whether all sparsities are close enough to their targets to end now.

    The less of the training is left, the larger a distance is accepted.

    Args:
        steerings: what steers them, with the sparsities counted last.
        progress: how much of the training is done, in [0, 1].
    """
    left = min(max((1.0 - progress) / _WINDOW, 0.0), 1.0)
    allowed = _LAST_TOLERANCE + (_FIRST_TOLERANCE - _LAST_TOLERANCE) * left
    return all(
        abs(s.sparsity - s.target) * s.weights.total
        <= allowed * s.weights.total + 0.5
        for s in steerings
    )


# Fewer updates than this are named as the reason for a missed target.
_FEW_UPDATES = 300


def warn_missed(steering: Steering, reason: str) -> None:
    """Warn that training ended away from the target."""
    _warn(steering, "was not reached", reason)


def warn_out_of_reach(steering: Steering, reason: str) -> None:
    """Warn during training that it will end away from the target."""
    _warn(steering, "is out of reach", reason)


def end_reason(steering: Steering, progress: float, updates: int) -> str:
    """Why a training ended away from the target.

    Args:
        steering: what was steered.
        progress: how much of the planned training was done, in [0, 1].
        updates: how many updates the whole training has.
    """
    if not steering.has_acted:
        return (
            "every strength was 0 all the time: let the schedules of the "
            "penalties rise above 0 earlier"
        )
    if steering.is_bounded:
        return bound_reason(steering)
    if progress < 1.0:
        return f"training stopped after {progress:.0%} of its epochs"
    if updates < _FEW_UPDATES:
        return (
            f"{updates} updates were too few for the weights to become zero "
            "one by one: train longer"
        )
    return (
        "the sparsity went on moving while the strength had come to rest: "
        "train longer, or let the learning rate end above 0"
    )


def bound_reason(steering: Steering) -> str:
    """The reason for a multiplier at one of its bounds."""
    lowest, highest = steering.bounds
    if steering.sparsity < steering.target:
        return (
            f"the multiplier is at its upper bound, {highest:g}: raise "
            "`bounds` or the strength of the penalties"
        )
    return (
        f"the multiplier is at its lower bound, {lowest:g}: lower `bounds` or "
        "the strength of the penalties"
    )


def unpenalized_reason(possible: float) -> str:
    """The reason for penalties that act on too few weights.

    Args:
        possible: the fraction of entries or units that they act on.
    """
    return (
        f"penalties act on no more than {possible:.4f} of it: the others have "
        "a penalty factor of 0"
    )


def _warn(steering: Steering, verdict: str, reason: str) -> None:
    warnings.warn(
        f"TargetSparsity({steering.target:g}) {verdict} in "
        f"`{steering.weights.name}`, because {reason}. Its sparsity is "
        f"{steering.sparsity:.4f}.",
        stacklevel=3,
    )
