"""What the guide in `docs/` shows is run as it stands there."""

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "make-a-transformer-smaller.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.mark.slow  # it trains
def test_the_blocks_run_and_end_at_a_smaller_transformer(monkeypatch, tmp_path):
    """In order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    namespace = {}
    assert BLOCKS
    for block in BLOCKS:
        exec(compile(block, GUIDE.name, "exec"), namespace)
    report = namespace["report"]
    assert report.largest_difference < 1e-5
    assert report.before.flops > 4 * report.after.flops
    assert (
        namespace["after"]["accuracy"] > namespace["before"]["accuracy"] - 0.02
    )
