"""Whether a sparsity is near its target, and why it is not."""

import warnings
from collections.abc import Iterable

from kreg.callbacks._target.steering import Steering
from kreg.callbacks._target.training_progress import TrainingProgress

# The last part of a training, within its last epoch, in which it may end.
_WINDOW = 0.02
# How far a sparsity may be from its target to end at once, and at the last.
_FIRST_MISS, _LAST_MISS = 0.0005, 0.004


def may_end(progress: TrainingProgress) -> bool:
    """Whether so little is left that a training may end where it is."""
    return (
        progress.batches is not None
        and progress.is_last_epoch
        and progress.now >= 1.0 - _WINDOW
    )


def have_arrived(steerings: Iterable[Steering], progress: float) -> bool:
    """Whether all sparsities are near enough for what is left.

    Args:
        steerings: what steers them, with what was read last.
        progress: how much of the training is done, in [0, 1].
    """
    left = min(max((1.0 - progress) / _WINDOW, 0.0), 1.0)
    allowed = _LAST_MISS + (_FIRST_MISS - _LAST_MISS) * left
    return all(
        abs(s.sparsity - s.target) * s.weights.total
        <= allowed * s.weights.total + 0.5
        for s in steerings
    )


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
    """The reason where the multiplier is as high or as low as it may be."""
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


def possible_reason(possible: float) -> str:
    """The reason where penalties leave too many weights alone.

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
