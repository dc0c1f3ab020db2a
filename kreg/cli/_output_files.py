"""Writing where nothing is lost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from kreg.cli._errors import CommandError, in_one_line
from kreg.cli._notices import busy
from kreg.deployment._staging import staged


def target(path: Path, source: Path, *, force: bool, folder: bool) -> Path:
    """Where to write so that it is found at `path`.

    Args:
        path: what the user has named. A link stays one.
        source: the file that is read; it may be the same file.
        force: whether what is there may be replaced.
        folder: whether a folder is to be written, a SavedModel.

    Raises:
        CommandError: if something is there that may not be replaced, or
            nothing can be written there.
    """
    if os.path.lexists(path) and not force:
        raise CommandError(f"{path}: {_EXISTS}")
    real = Path(os.path.realpath(path))
    if real.exists():
        if folder and not _is_saved_model(real):
            raise CommandError(
                f"{path}: is not a SavedModel, so a SavedModel does not "
                "replace it"
            )
        if folder and real in Path(os.path.realpath(source)).parents:
            raise CommandError(f"{path}: holds {source}, so it must stay")
        if not folder and not real.is_file():
            raise CommandError(f"{path}: is not a file, so no file replaces it")
    if not real.parent.is_dir():
        raise CommandError(f"{path}: there is no directory {real.parent}")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise CommandError(f"{path}: cannot write in {real.parent}")
    return real


@contextmanager
def refuse_unwritable(path: Path) -> Iterator[None]:
    """Say in a line that `path` cannot be written, where the block cannot.

    Raises:
        CommandError: for an error of the system.
    """
    try:
        yield
    except FileExistsError as error:
        raise CommandError(f"{path}: {_EXISTS}") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else in_one_line(error)
        raise CommandError(f"{path}: cannot be written: {reason}") from error


def save(model: keras.Model, path: Path, source: Path, *, force: bool) -> int:
    """Write a `.keras` file; returns its size in bytes.

    Args:
        model: the model.
        path, source, force: as for `target`.

    Raises:
        CommandError: as `target`, and if the disk does not take it.
    """
    real = target(path, source, force=force, folder=False)
    with (
        busy(f"writing {path}"),
        refuse_unwritable(path),
        staged(real, overwrite=force) as written,
    ):
        model.save(written)
        return written.stat().st_size


_EXISTS = "exists; --force replaces it"


def _is_saved_model(path: Path) -> bool:
    return path.is_dir() and (path / "saved_model.pb").is_file()
