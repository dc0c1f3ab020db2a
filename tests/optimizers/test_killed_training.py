"""A training that is killed and restarted ends like one that never was."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

PROGRAM = Path(__file__).parent / "interrupted_training.py"
EPOCHS, BATCHES = 6, 8
KILLS = 10 if keras.backend.backend() == "tensorflow" else 2
RNG = np.random.default_rng(0)
# Not after the last batch of an epoch, when Keras may be writing its backup.
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
    """The number of batches trained, and the final weights."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    with np.load(folder / "result.npz") as weights:
        return out.split().count("batch"), list(weights.values())


@pytest.fixture(scope="module", name="unbroken")
def _unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    batches, weights = finish(start(folder), folder)
    assert batches == EPOCHS * BATCHES
    assert any((w == 0).any() for w in weights if w.ndim == 2)
    return weights


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_after_a_batch(moment, unbroken, tmp_path):
    process = start(tmp_path)
    lines = iter(process.stdout.readline, "")
    seen = 0
    while seen < moment:
        seen += next(lines).strip() == "batch"
    process.kill()
    process.communicate()
    assert not (tmp_path / "result.npz").exists()
    batches, weights = finish(start(tmp_path), tmp_path)
    # It went on from the start of the epoch it was in.
    assert batches == EPOCHS * BATCHES - moment // BATCHES * BATCHES
    for ours, theirs in zip(weights, unbroken, strict=True):
        np.testing.assert_array_equal(ours == 0.0, theirs == 0.0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
