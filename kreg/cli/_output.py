"""What a command answers, and the files that it writes."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

import kreg.selection
from kreg.cli._process import CommandError, busy, in_one_line
from kreg.files.atomic import staged

# The width of what does not go to a terminal, so that no path is folded.
_WIDTH = 1000


@dataclass(frozen=True)
class Answer:
    """What a command answers, for people and for programs.

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


_SUFFIXES = (".png", ".svg", ".pdf")


def plot_file(text: str) -> Path:
    """A path to write a picture at."""
    if not text.endswith(_SUFFIXES):
        raise argparse.ArgumentTypeError(
            f"must end in {', '.join(_SUFFIXES)}: {text!r}"
        )
    return Path(text)


def require_matplotlib() -> None:
    """Raise before any work is lost if there can be no plot.

    Raises:
        CommandError: if matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise CommandError(
            "--plot needs matplotlib, which is not installed: "
            "run `pip install 'kreg[plot]'`"
        ) from error


def save_plot(
    result: kreg.selection.CompareResult | kreg.selection.PathResult,
    path: Path,
    source: Path,
    *,
    force: bool,
) -> None:
    """Draw figures against the strength, and against the sparsity.

    Args:
        result: a comparison or a path.
        path, source, force: as for `target`.

    Raises:
        CommandError: as `target`, and if the disk does not take it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    kreg.selection.plot_validation(result, left)
    kreg.selection.plot_sparsity(result, right)
    real = target(path, source, force=force, folder=False)
    with (
        refuse_unwritable(path),
        staged(real, overwrite=force) as written,
    ):
        figure.savefig(written, dpi=150)
