"""The controller alone, on made-up responses of a sparsity to a strength."""

import itertools
import math

import numpy as np
import pytest

from kreg.callbacks._target.controller import StrengthController


def steer(response, target, steps=400, start=0.0, sparsity=0.0, noise=0.0):
    """Sparsities and logarithms of the strength over one training.

    `response(log_strength, sparsity, elapsed)` gives the next sparsity.
    """
    controller = StrengthController(target, start, sparsity, 1e-5)
    log_strength, history = 0.0, []
    times = np.linspace(start, 1.0, steps + 1)
    rng = np.random.default_rng(0)
    for before, progress in itertools.pairwise(times):
        sparsity = response(log_strength, sparsity, progress - before)
        seen = min(max(sparsity + noise * rng.normal(), 0.0), 1.0)
        log_strength += controller.change(progress, seen)
        history.append((progress, sparsity, log_strength))
    return np.array(history)


def follower(needed, span):
    """A sparsity that follows what the strength wants, late.

    At the strength `exp(needed)` it ends at one half.
    """

    def response(log_strength, sparsity, elapsed):
        wanted = 1.0 / (1.0 + math.exp(needed - log_strength))
        return sparsity + (wanted - sparsity) * -math.expm1(-elapsed / span)

    return response


def gatherer(scale):
    """A sparsity that grows at a rate, as weights shrink at a strength."""

    def response(log_strength, sparsity, elapsed):
        rate = math.exp(log_strength - scale) * (1.0 - sparsity)
        return min(sparsity + rate * elapsed, 1.0)

    return response


RESPONSES = {
    "quick": follower(0.0, 0.001),
    "late": follower(0.0, 0.02),
    "needs more": follower(math.log(1000), 0.01),
    "needs less": follower(-math.log(1000), 0.01),
}


@pytest.mark.parametrize("target", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("name", RESPONSES)
def test_ends_at_the_target(name, target):
    history = steer(RESPONSES[name], target)
    assert history[-1, 1] == pytest.approx(target, abs=0.005)


@pytest.mark.parametrize("target", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("name", RESPONSES)
def test_does_not_overshoot_far(name, target):
    history = steer(RESPONSES[name], target)
    assert history[:, 1].max() <= target + 0.3 * (1.0 - target)


@pytest.mark.parametrize("target", [0.5, 0.9, 0.98])
def test_zeros_that_never_come_back(target):
    history = steer(gatherer(0.0), target)
    assert history[-1, 1] == pytest.approx(target, abs=0.05)


def test_noisy_readings():
    history = steer(follower(0.0, 0.01), 0.9, noise=0.003)
    assert history[-1, 1] == pytest.approx(0.9, abs=0.005)


@pytest.mark.parametrize("seed", range(3))
def test_strength_rests_over_the_last_tenth_whatever_happens(seed):
    rng = np.random.default_rng(seed)
    history = steer(lambda *_: rng.uniform(), 0.9)
    late = history[history[:, 0] >= 0.9, 2]
    assert math.exp(np.ptp(late)) < 1.05


def test_strength_can_fall_faster_than_it_rises():
    rise = steer(lambda *_: 0.0, 0.9, steps=100)[:, 2]
    fall = steer(lambda *_: 1.0, 0.9, steps=100)[:, 2]
    assert 0 < np.diff(rise).max() < -np.diff(fall).min()


def test_path_rises_from_what_there_is_to_the_target():
    controller = StrengthController(0.9, 0.0, 0.2, 1e-5)
    path = [controller.desired(p) for p in np.linspace(0.0, 1.0, 50)]
    assert path[0] == pytest.approx(0.2)
    assert (np.diff(path) >= 0).all()
    assert set(path[35:]) == {0.9}


def test_path_goes_on_where_another_left_off():
    whole = StrengthController(0.9, 0.0, 0.0, 1e-5)
    rest = StrengthController(0.9, 0.2, whole.desired(0.2), 1e-5)
    for progress in (0.3, 0.5, 0.7, 1.0):
        assert rest.desired(progress) == pytest.approx(whole.desired(progress))


def test_path_may_fall():
    history = steer(follower(0.0, 0.01), 0.5, sparsity=0.95)
    assert history[-1, 1] == pytest.approx(0.5, abs=0.005)


def test_does_not_wind_up_at_a_bound():
    controller = StrengthController(0.9, 0.0, 0.0, 1e-5)
    for progress in np.linspace(0.01, 0.7, 200):
        assert controller.change(progress, 0.3, -1.0, 0.0) <= 0.0
    falls = [
        controller.change(progress, 0.95)
        for progress in np.linspace(0.71, 0.75, 20)
    ]
    assert sum(falls) < -0.5


def test_no_time_no_change():
    controller = StrengthController(0.9, 0.1, 0.0, 1e-5)
    controller.change(0.2, 0.1)
    assert controller.change(0.2, 0.5) == 0.0
