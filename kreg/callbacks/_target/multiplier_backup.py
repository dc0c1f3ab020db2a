"""A backup file of multipliers, beside Keras's backup of the weights."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from kreg.files.atomic import write_whole


class MultiplierBackup:
    """The multipliers at the ends of the last epochs, by optimizer iteration.

    The weights may be one epoch older than the newest multipliers, if training
    was killed between the writing of the two files. So the entries of several
    iterations are kept, and the iteration of the weights finds its own.

    Args:
        path: the file.
    """

    _ENTRIES = 3

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def read(self, iteration: int) -> list[float] | None:
        """The last multipliers up to `iteration`; None if there are none."""
        past = [m for i, m in self._entries() if i <= iteration]
        return past[-1] if past else None

    def write(self, iteration: int, multipliers: Sequence[float]) -> None:
        """Add an entry; drop the oldest one and those of later iterations."""
        entries = [e for e in self._entries() if e[0] < iteration]
        entries.append((iteration, list(multipliers)))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(entries[-self._ENTRIES :]).encode()
        write_whole(self._path, lambda file: file.write(content))

    def remove(self) -> None:
        """Delete the file, if it exists."""
        self._path.unlink(missing_ok=True)

    def _entries(self) -> list[tuple[int, list[float]]]:
        if not self._path.exists():
            return []
        entries = json.loads(self._path.read_text())
        return [(iteration, multipliers) for iteration, multipliers in entries]
