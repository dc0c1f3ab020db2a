"""What README shows is run as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

import kreg

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def test_python_blocks_run(monkeypatch, tmp_path):
    """In order, in one namespace, on small random data."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    namespace = {
        "x": rng.normal(size=(64, 20)).astype("float32"),
        "y": rng.integers(0, 10, size=64),
    }
    assert BLOCKS
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)


def test_ci_runs_the_test_command_of_the_readme():
    (command,) = [c for c in COMMANDS if "pytest" in c]
    script = (ROOT / ".ci" / "run").read_text()
    assert "README.md" in script
    assert command.strip().count("\n") == 0


FUNCTIONS_AND_CLASSES = [n for n in kreg.__all__ if callable(getattr(kreg, n))]


@pytest.mark.parametrize("name", FUNCTIONS_AND_CLASSES)
def test_public_names_are_in_the_table(name):
    assert f"| `kreg.{name}(" in README
