"""Ending a training at a moment when its sparsity is right."""

from collections.abc import Iterable

from kreg.callbacks._target._steering import Steering
from kreg.callbacks._target._training_progress import TrainingProgress

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
        abs(s.sparsity - s.target) * s.share.total
        <= allowed * s.share.total + 0.5
        for s in steerings
    )
