"""A folder of finished work belongs to one call."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kreg.selection._whole_files import write_whole

_LONGEST = 120


def claim_directory(
    directory: Path, work: str, identity: Mapping[str, Any]
) -> None:
    """Write into a folder what it is for, or see that it is for the same.

    Args:
        directory: the folder, created if it is not there.
        work: what it is for, in a word, which is also the name of the file.
        identity: what tells this work from others, fit for JSON.

    Raises:
        ValueError: if the folder holds other work.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{work}.json"
    text = json.dumps(identity, indent=1)
    if not file.exists():
        write_whole(file, lambda open_file: open_file.write(text.encode()))
        return
    there, here = json.loads(file.read_text()), json.loads(text)
    differing = [
        key + _both(there.get(key), here.get(key))
        for key in sorted({*there, *here})
        if there.get(key) != here.get(key)
    ]
    if differing:
        raise ValueError(
            f"`directory` must be empty, or hold this very {work}: choose "
            f"another folder. Received: directory={str(directory)!r}, whose "
            f"{work} has other {', '.join(differing)}"
        )


def _both(there: Any, here: Any) -> str:
    """What is there and here, where it is short enough to be of use."""
    text = f" ({there!r} there, {here!r} here)"
    return text if len(text) <= _LONGEST else ""
