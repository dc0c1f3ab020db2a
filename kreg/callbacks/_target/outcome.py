"""When `TargetSparsity` may end a training, and why it missed its target."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from kreg.callbacks._target.steering import Steering
from kreg.callbacks._target.training_progress import TrainingProgress

# The last part of a training in which the callback may end it.
_WINDOW = 0.02
# The largest distance from the target at which it ends the training, at the
# start and at the end of that part.
_FIRST_TOLERANCE, _LAST_TOLERANCE = 0.0005, 0.004


def may_end(progress: TrainingProgress) -> bool:
    """Whether the training is so far along that the callback may end it."""
    return (
        progress.batches is not None
        and progress.is_last_epoch
        and progress.now >= 1.0 - _WINDOW
    )


def are_close_enough(steerings: Iterable[Steering], progress: float) -> bool:
    """Whether all sparsities are close enough to their targets to end now.

    The less of the training is left, the larger the accepted distance.

    Args:
        steerings: the steerings, with the sparsities counted last.
        progress: the fraction of the training that is done, in [0, 1].
    """
    left = min(max((1.0 - progress) / _WINDOW, 0.0), 1.0)
    allowed = _LAST_TOLERANCE + (_FIRST_TOLERANCE - _LAST_TOLERANCE) * left
    return all(
        abs(s.sparsity - s.target) * s.weights.total
        <= allowed * s.weights.total + 0.5
        for s in steerings
    )


# With fewer updates than this, their number is given as the reason for a missed
# target.
_FEW_UPDATES = 300


def warn_missed(steering: Steering, reason: str) -> None:
    """Warn that training has missed the target."""
    _warn(steering, "was not reached", reason)


def warn_out_of_reach(steering: Steering, reason: str) -> None:
    """Warn during training that it will miss the target."""
    _warn(steering, "is out of reach", reason)


@dataclass(frozen=True)
class Trained:
    """The state of some weights after the last update.

    Args:
        sparsity: their sparsity.
        missed: the reason why it misses the target; None if it does not.
    """

    sparsity: float
    missed: str | None

    @classmethod
    def of(cls, steering: Steering, progress: float, updates: int) -> Self:
        """The state with the sparsity that was counted last.

        Args:
            steering: the steering of the weights.
            progress: the fraction of the planned training that was done, in
                [0, 1].
            updates: the number of updates of the whole training.
        """
        missed = None
        if not steering.has_reached:
            missed = end_reason(steering, progress, updates)
        return cls(steering.sparsity, missed)

    def reason_for(self, sparsity: float) -> str:
        """Why the final sparsity misses the target."""
        if sparsity == self.sparsity and self.missed is not None:
            return self.missed
        changed = (
            "another callback changed the weights after the last update, as "
            "`EarlyStopping(restore_best_weights=True)` does when it restores "
            f"those of an earlier epoch; before that it was {self.sparsity:.4f}"
        )
        if self.missed is not None:
            return f"{self.missed}. Then {changed}"
        return (
            f"{changed}. Leave that out, or let `start_from_epoch` be in the "
            "last third of the training"
        )


def end_reason(steering: Steering, progress: float, updates: int) -> str:
    """Why a training has missed the target.

    Args:
        steering: the steering of the weights.
        progress: the fraction of the planned training that was done, in [0, 1].
        updates: the number of updates of the whole training.
    """
    is_below = steering.sparsity < steering.target
    if not steering.are_finite():
        return _NOT_FINITE
    if not steering.has_acted:
        if is_below:
            return (
                "every strength was 0 all the time: let the schedules of the "
                "penalties rise above 0 earlier"
            )
        return (
            "its zeros are not from the penalties, whose strengths were 0 all "
            "the time: start from weights with fewer zeros"
        )
    if is_below and steering.possible < steering.target:
        return unpenalized_reason(steering.possible)
    if steering.are_held or steering.is_bounded:
        return obstacle_reason(steering)
    if not is_below and steering.zeros_are_stuck:
        return _STUCK
    if steering.unpenalized_since is not None:
        percent = math.ceil(100 * steering.unpenalized_since)
        return (
            f"every strength was 0 after {percent}% of the training, and zeros "
            "do not stay without one: let the schedules of the penalties end "
            "above 0"
        )
    if progress < 1.0:
        percent = math.floor(100 * progress)
        return f"training stopped after {percent}% of its epochs"
    if steering.is_waiting:
        return (
            f"{updates} updates were too few for a strength to be chosen: "
            "train longer; under loss scaling look for gradients that are not "
            "finite, whose updates are left out"
        )
    if steering.largest_group:
        return group_reason(steering)
    if updates < _FEW_UPDATES:
        if is_below:
            return (
                f"{updates} updates were too few for the weights to become "
                "zero one by one: train longer"
            )
        return (
            f"within {updates} updates the strength did not come to rest, nor "
            "did all weights return that had become zero: train longer"
        )
    return (
        "the sparsity went on moving, or did not follow the strength, until "
        "the end: train longer, or let the learning rate end above 0"
    )


def group_reason(steering: Steering) -> str:
    """Why a target was missed whose zeros are those of whole groups."""
    share = steering.largest_group / steering.weights.total
    if steering.sparsity < steering.target:
        return (
            f"whole groups become zero, the largest of them {share:.4f} of it, "
            "and the strength rose no faster, so that those that should stay "
            "do not vanish with them: train longer"
        )
    return (
        f"whole groups become zero, the largest of them {share:.4f} of it, and "
        "come back late or never when the strength falls: train longer, so "
        "that it can rise more slowly"
    )


_STUCK = (
    "its last zeros stayed zero while the strength vanished: no gradient "
    "reaches them, as in units whose activation is 0 for all inputs, and no "
    "strength brings them back. Start from weights with fewer zeros"
)

_NOT_FINITE = (
    "its weights hold NaN or infinite entries: lower the learning rate or clip "
    "gradients"
)


def obstacle_reason(steering: Steering) -> str:
    """Why a multiplier is at a bound, or why the weights do not move."""
    if not steering.are_finite():
        return _NOT_FINITE
    if steering.are_held:
        return (
            "the learning rate is 0, so that no weight moves: let it end above "
            "0"
        )
    lowest, highest = steering.bounds
    if steering.sparsity < steering.target:
        return (
            f"the multiplier is at its upper bound, {highest:g}: raise "
            "`bounds` or the strength of the penalties"
        )
    if steering.zeros_are_stuck:
        return _STUCK
    return (
        f"the multiplier is at its lower bound, {lowest:g}: lower `bounds` or "
        "the strength of the penalties"
    )


def unpenalized_reason(possible: float) -> str:
    """The reason for a missed target if penalties act on too few weights.

    Args:
        possible: the fraction of entries or units that penalties act on.
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
