"""Files and folders that are there as a whole, or not at all."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def refuse_path(path: Path, overwrite: bool) -> None:
    """Raise if nothing may or can be written at `path`.

    Raises:
        FileExistsError: if something is there and `overwrite` is False, or it
            is a folder that is no SavedModel, whose content would be lost.
        FileNotFoundError: if the folder that is to hold it does not exist.
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
    """A path of the same name to write at, moved to `path` at the end.

    It lies in a new folder beside `path`, which is removed in any case. If the
    block raises, whatever was at `path` before is still there.
    """
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}."
    ) as folder:
        written = Path(folder, "new", path.name)
        written.parent.mkdir()
        yield written
        # A file takes the place of a file at once, but no folder of anything.
        if os.path.lexists(path) and (path.is_dir() or written.is_dir()):
            os.rename(path, Path(folder, "old"))
        os.replace(written, path)


@contextmanager
def staged(path: Path, overwrite: bool) -> Iterator[Path]:
    """Where to write a file or a folder that is moved to `path` at the end.

    Args:
        path: where it is to be.
        overwrite: whether it may replace a file or a SavedModel.

    Yields:
        A path of the same name in a temporary folder beside `path`. If the
        block raises, nothing at `path` has changed.

    Raises:
        OSError: as `refuse_path`, before the block and again after it.
    """
    refuse_path(path, overwrite)
    with _moved_into_place(path) as written:
        yield written
        refuse_path(path, overwrite)


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, replacing one that is there.

    Whenever the process ends, at `path` is the old file or the new one.

    Args:
        path: where the file is to be.
        write: writes the content to a binary file.

    Raises:
        OSError: if it cannot be written, or `path` is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    with _moved_into_place(path) as written, written.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
