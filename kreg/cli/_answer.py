"""What a command answers, for people or for programs."""

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

# Of what is not read on a terminal: tables fold no path.
_WIDTH = 1000


@dataclass(frozen=True)
class Answer:
    """What a command has found or done.

    Args:
        record: makes what `--json` prints.
        show: prints the same for people.
    """

    record: Callable[[], Mapping[str, Any]]
    show: Callable[[Console], None]

    def text(self, as_json: bool) -> str:
        """All that goes to standard output."""
        if as_json:
            return json.dumps(_plain(self.record()), indent=2) + "\n"
        width = None if sys.stdout.isatty() else _WIDTH
        console = Console(width=width)
        with console.capture() as captured:
            self.show(console)
        lines = captured.get().splitlines()
        return "".join(f"{line.rstrip()}\n" for line in lines)


def line(console: Console, text: str) -> None:
    """Print a line as it is, however long."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity; they become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
