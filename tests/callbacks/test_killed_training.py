"""A training that is killed and restarted ends like one that never was.

Moments at which Keras may be writing its backup are left out: it would be a
file cut short, which Keras itself does not load.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

PROGRAM = Path(__file__).parent / "interrupted_training.py"
EPOCHS, BATCHES = 10, 8
# `KREG_KILLS=20 pytest -m slow tests/callbacks/test_killed_training.py` kills
# twenty trainings.
KILLS = int(
    os.environ.get("KREG_KILLS")
    or (5 if keras.backend.backend() == "tensorflow" else 2)
)
RNG = np.random.default_rng(0)
MOMENTS = sorted(
    int(moment)
    for moment in RNG.choice(
        [m for m in range(1, EPOCHS * BATCHES) if m % BATCHES], KILLS, False
    )
)


def start(folder):
    return subprocess.Popen(
        [sys.executable, PROGRAM, folder / "backup", folder / "result.npz"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, folder):
    """The number of batches trained, and the final weights and multipliers."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    with np.load(folder / "result.npz") as weights:
        return out.split().count("batch"), dict(weights)


def kill_after(process, moment):
    """Send SIGKILL after a number of batches."""
    lines = iter(process.stdout.readline, "")
    seen = 0
    while seen < moment:
        seen += next(lines).strip() == "batch"
    process.kill()
    process.communicate()


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value == 0.0, theirs[name] == 0.0)
        np.testing.assert_allclose(value, theirs[name], rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module", name="unbroken")
def _unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    batches, result = finish(start(folder), folder)
    assert batches == EPOCHS * BATCHES
    kernels = [v for v in result.values() if v.ndim == 2]
    assert all((kernel == 0.0).any() for kernel in kernels)
    target, scheduler, ramp = result["multipliers"]
    assert target != 1.0
    assert scheduler == pytest.approx(1.3**EPOCHS)
    assert ramp == 1.0
    return result


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_after_a_batch(moment, unbroken, tmp_path):
    process = start(tmp_path)
    kill_after(process, moment)
    assert not (tmp_path / "result.npz").exists()
    batches, result = finish(start(tmp_path), tmp_path)
    # It went on from the start of the epoch it was in.
    assert batches == EPOCHS * BATCHES - moment // BATCHES * BATCHES
    assert_same(result, unbroken)


@pytest.mark.slow
def test_killed_several_times(unbroken, tmp_path):
    trained = 0
    for batches in (3 * BATCHES + 2, 3, 4 * BATCHES + 5):
        kill_after(start(tmp_path), batches)
        trained += batches // BATCHES * BATCHES
    batches, result = finish(start(tmp_path), tmp_path)
    assert batches == EPOCHS * BATCHES - trained
    assert_same(result, unbroken)
