"""When TargetSparsity may end a training early."""

from types import SimpleNamespace

import pytest

from kreg.callbacks._target.outcome import are_close_enough, may_end
from kreg.callbacks._target.training_progress import TrainingProgress


def away(points, total=100_000):
    """A sparsity that is so many points from its target."""
    return SimpleNamespace(
        sparsity=0.9 + points / 100,
        target=0.9,
        weights=SimpleNamespace(total=total),
    )


@pytest.mark.parametrize(
    ("progress", "points"), [(0.98, 0.05), (0.99, 0.22), (1.0, 0.4)]
)
def test_less_is_asked_the_less_is_left(progress, points):
    assert are_close_enough([away(points)], progress)
    assert are_close_enough([away(-points)], progress)
    assert not are_close_enough([away(points + 0.02)], progress)


def test_every_sparsity_must_have_arrived():
    assert not are_close_enough([away(0.0), away(1.0)], 0.99)


def test_a_target_between_two_counts_can_be_met():
    assert are_close_enough([away(1.0, total=40)], 0.98)


def at(epoch, batches, epochs=10, steps=100):
    progress = TrainingProgress({"epochs": epochs, "steps": steps})
    progress.begin_epoch(epoch)
    progress.end_batch(batches - 1)
    return progress


def test_only_the_last_fiftieth_may_be_left_out():
    assert not may_end(at(9, 79))
    assert may_end(at(9, 80))


def test_only_the_last_epoch_may_be_shortened():
    assert not may_end(at(98, 99, epochs=100))
    assert may_end(at(99, 1, epochs=100))


def test_a_training_of_unknown_length_is_not_shortened():
    assert not may_end(at(0, 99, epochs=1, steps=None))
