"""The examples are short, and run."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
# A SavedModel, and steps that are run several at a time.
OF_TENSORFLOW = ("ship_it", "textbook")


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(
            path,
            id=path.stem,
            marks=[pytest.mark.tensorflow]
            if path.stem.startswith(OF_TENSORFLOW)
            else [],
        )
        for path in EXAMPLES
    ],
)
def test_example_runs(example, tmp_path):
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
