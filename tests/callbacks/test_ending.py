"""When TargetSparsity may end a training early."""

import re
from types import SimpleNamespace

import pytest

from kreg.callbacks._target.outcome import (
    Trained,
    are_close_enough,
    may_end,
)
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


def missed(sparsity, **state):
    """What was steered to 0.5 and ended elsewhere."""
    settings = {
        "has_acted": True,
        "is_bounded": False,
        "are_held": False,
        "is_waiting": False,
        "are_finite": lambda: True,
        "zeros_are_stuck": False,
        "unpenalized_since": None,
        "possible": 1.0,
        "bounds": (0.5, 2.0),
        "largest_group": 0,
        "weights": SimpleNamespace(total=1000),
        **state,
    }
    return SimpleNamespace(
        sparsity=sparsity,
        target=0.5,
        has_reached=abs(sparsity - 0.5) < 0.005,
        **settings,
    )


BELOW, ABOVE = 0.2, 0.8
# What was steered, the progress, the updates, and what the reason says.
REASONS = [
    (missed(BELOW), 1.0, 80, "80 updates were too few .* become zero"),
    (missed(ABOVE), 1.0, 80, "within 80 updates the strength did not come"),
    (missed(BELOW), 0.996, 80, "stopped after 99% of its epochs"),
    (missed(ABOVE), 0.35, 900, "stopped after 35% of its epochs"),
    (missed(BELOW), 1.0, 900, "went on moving"),
    (missed(ABOVE), 1.0, 900, "went on moving"),
    (missed(BELOW, largest_group=40), 1.0, 900, r"0\.0400 of it.* rose no fas"),
    (missed(ABOVE, largest_group=40), 1.0, 900, "come back late or never"),
    (missed(BELOW, is_bounded=True), 0.5, 80, "upper bound, 2"),
    (missed(ABOVE, is_bounded=True), 0.5, 80, "lower bound, 0.5"),
    (missed(BELOW, are_held=True), 1.0, 80, "learning rate is 0"),
    (
        missed(BELOW, is_waiting=True),
        1.0,
        80,
        "80 updates were too few for a strength",
    ),
    (
        missed(BELOW, is_bounded=True, are_held=True),
        1.0,
        900,
        "learning rate is 0",
    ),
    (
        missed(BELOW, is_bounded=True, are_finite=lambda: False),
        1.0,
        900,
        "NaN or infinite",
    ),
    (missed(BELOW, has_acted=False), 1.0, 80, "every strength was 0"),
    (missed(ABOVE, has_acted=False), 1.0, 80, "zeros are not from the penal"),
    (
        missed(BELOW, unpenalized_since=0.204),
        *(1.0, 80, "every strength was 0 after 21% of the training"),
    ),
    (
        missed(BELOW, unpenalized_since=0.2),
        *(0.9, 900, "let the schedules of the penalties end above 0"),
    ),
    (
        missed(BELOW, unpenalized_since=0.2, are_held=True),
        *(1.0, 900, "learning rate is 0"),
    ),
    (
        missed(ABOVE, is_bounded=True, zeros_are_stuck=True),
        *(1.0, 80, "no strength brings them back"),
    ),
    (
        missed(ABOVE, unpenalized_since=0.2, zeros_are_stuck=True),
        *(1.0, 80, "no gradient reaches them"),
    ),
    (
        missed(BELOW, is_bounded=True, zeros_are_stuck=True),
        *(1.0, 900, "upper bound, 2"),
    ),
    (missed(BELOW, possible=0.3), 1.0, 80, r"no more than 0\.3000"),
    (missed(BELOW, are_finite=lambda: False), 1.0, 80, "NaN or infinite"),
]


@pytest.mark.parametrize(("steering", "progress", "updates", "said"), REASONS)
def test_the_reason_is_that_of_the_state(steering, progress, updates, said):
    trained = Trained.of(steering, progress, updates)
    assert re.search(said, trained.reason_for(steering.sparsity))


def test_a_change_after_the_last_update_is_named_with_what_was_before():
    reached = Trained.of(missed(0.5), 0.99, 80)
    assert reached.missed is None
    reason = reached.reason_for(0.1)
    assert "another callback changed the weights" in reason
    assert "before that it was 0.5000" in reason
    stopped = Trained.of(missed(BELOW), 0.35, 80).reason_for(0.1)
    assert stopped.startswith("training stopped after 35% of its epochs. Then")
