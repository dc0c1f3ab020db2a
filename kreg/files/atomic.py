"""Atomic writes: a file or folder appears as a whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def refuse_path(path: Path, overwrite: bool) -> None:
    """Raise if `path` must not be replaced or cannot be written.

    Raises:
        FileExistsError: if `path` exists and `overwrite` is False, or if it is
            a folder other than a SavedModel, whose content would be lost.
        FileNotFoundError: if the parent folder does not exist.
    """
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(
            "`path` exists: choose another, or pass `overwrite=True`. "
            f"Received: path={str(path)!r}"
        )
    if path.is_dir() and not (path / "saved_model.pb").exists():
        raise FileExistsError(
            "`path` is a folder that is not a SavedModel, and is not replaced: "
            f"choose another. Received: path={str(path)!r}"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            "`path` must be in a folder that exists. "
            f"Received: path={str(path)!r}"
        )


@contextmanager
def _moved_into_place(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which is moved to `path` at the end.

    The temporary path has the same name and lies in a temporary folder beside
    `path`, which is removed in any case. If the block raises, `path` is
    unchanged.
    """
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}."
    ) as folder:
        temporary = Path(folder, "new", path.name)
        temporary.parent.mkdir()
        yield temporary
        # `os.replace` replaces a file in one step, but not a folder, so an old
        # folder is moved away first.
        if os.path.lexists(path) and (path.is_dir() or temporary.is_dir()):
            os.rename(path, Path(folder, "old"))
        os.replace(temporary, path)


@contextmanager
def staged(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, moved to `path` at the end.

    Args:
        path: the destination.
        overwrite: whether to replace a file or a SavedModel at `path`.

    Yields:
        A path of the same name in a temporary folder beside `path`. If the
        block raises, `path` is unchanged.

    Raises:
        OSError: as `refuse_path` does, before the block and again after it.
    """
    refuse_path(path, overwrite)
    with _moved_into_place(path) as temporary:
        yield temporary
        refuse_path(path, overwrite)


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file in one step, replacing an old one.

    Even if the process is killed, `path` holds the old file or the new one.

    Args:
        path: the destination.
        write: writes the content to an open binary file.

    Raises:
        OSError: if the file cannot be written, or `path` is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    with _moved_into_place(path) as temporary, temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
