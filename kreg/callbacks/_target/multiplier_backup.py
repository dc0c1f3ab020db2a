"""A file that remembers multipliers, beside a backup of weights alone."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from kreg.files.atomic import write_whole


class MultiplierBackup:
    """The multipliers at the end of the last epochs, by optimizer iteration.

    Whatever is restored of the weights, the entry of its iteration is there,
    even if training was killed between the writing of one and of the other.

    Args:
        path: the file.
    """

    _KEPT = 3

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def read(self, iteration: int) -> list[float] | None:
        """The multipliers at `iteration`, or the last before it; or None."""
        past = [m for i, m in self._entries() if i <= iteration]
        return past[-1] if past else None

    def write(self, iteration: int, multipliers: Sequence[float]) -> None:
        """Add an entry, and forget the oldest and those that lie ahead."""
        entries = [e for e in self._entries() if e[0] < iteration]
        entries.append((iteration, list(multipliers)))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(entries[-self._KEPT :]).encode()
        write_whole(self._path, lambda file: file.write(content))

    def remove(self) -> None:
        """Delete the file; none is no error."""
        self._path.unlink(missing_ok=True)

    def _entries(self) -> list[tuple[int, list[float]]]:
        if not self._path.exists():
            return []
        entries = json.loads(self._path.read_text())
        return [(iteration, multipliers) for iteration, multipliers in entries]
