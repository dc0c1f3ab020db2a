"""The examples are short, and run."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
# It exports a SavedModel.
OF_TENSORFLOW = ("ship_it",)
# A chapter, and not a page; it takes a minute.
LONG = ("textbook",)
# It trains three times.
SLOW = ("smaller_transformer",)
# What they show, README shows too.
THOROUGH = ("exact_zeros", "scheduled_strength", "ship_it", "watch_it")


def marks(stem):
    if stem in OF_TENSORFLOW:
        yield pytest.mark.tensorflow
    if stem in LONG + SLOW:
        yield pytest.mark.slow
    if stem in THOROUGH:
        yield pytest.mark.thorough


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(path, id=path.stem, marks=list(marks(path.stem)))
        for path in EXAMPLES
    ],
)
def test_example_runs(example, tmp_path):
    if example.stem not in LONG:
        assert len(example.read_text().splitlines()) <= 60
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(example)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_there_are_examples():
    assert len(EXAMPLES) >= 2
