"""The printed output of a command, and the files it writes."""

import argparse
import json
import math
import os
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
from kreg.results.table import output_console


@dataclass(frozen=True)
class CommandOutput:
    """The output of a command, for people and for programs.

    Args:
        record: returns the record that `--json` prints.
        show: prints the output in readable form.
    """

    record: Callable[[], Mapping[str, Any]]
    show: Callable[[Console], None]

    def text(self, as_json: bool) -> str:
        """The text for standard output."""
        if as_json:
            return json.dumps(_plain(self.record()), indent=2) + "\n"
        console = output_console()
        with console.capture() as captured:
            self.show(console)
        lines = captured.get().splitlines()
        return "".join(f"{line.rstrip()}\n" for line in lines)


def print_line(console: Console, text: str) -> None:
    """Print a line without wrapping, markup or colours."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    """The value with NaN and infinity, which JSON lacks, replaced by None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def checked_target(
    path: Path, source: Path, *, force: bool, folder: bool
) -> Path:
    """Check that `path` can be written; return the path with links followed.

    Args:
        path: the path that the user has named. A link is followed and kept.
        source: the file that the command reads; it may be the same file.
        force: whether an existing file may be replaced.
        folder: whether to write a folder, a SavedModel.

    Raises:
        CommandError: if `path` must not be replaced or cannot be written.
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
    """Turn errors of writing `path` in the block into one-line messages.

    Raises:
        CommandError: in place of an `OSError`.
    """
    try:
        yield
    except FileExistsError as error:
        raise CommandError(f"{path}: {_EXISTS}") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else in_one_line(error)
        raise CommandError(f"{path}: cannot be written: {reason}") from error


def save(model: keras.Model, path: Path, source: Path, *, force: bool) -> int:
    """Write a `.keras` file; return its size in bytes.

    Args:
        model: the model.
        path, source, force: as for `checked_target`.

    Raises:
        CommandError: as `checked_target`, and if writing fails.
    """
    real = checked_target(path, source, force=force, folder=False)
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
    """The path of a picture to write."""
    if not text.endswith(_SUFFIXES):
        raise argparse.ArgumentTypeError(
            f"must end in {', '.join(_SUFFIXES)}: {text!r}"
        )
    return Path(text)


def require_matplotlib() -> None:
    """Raise if plots cannot be drawn; called before the work starts.

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
    """Plot the validation figure against the strength and the sparsity.

    Args:
        result: a comparison or a path.
        path, source, force: as for `checked_target`.

    Raises:
        CommandError: as `checked_target`, and if writing fails.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    kreg.selection.plot_validation(result, left)
    kreg.selection.plot_sparsity(result, right)
    real = checked_target(path, source, force=force, folder=False)
    with (
        refuse_unwritable(path),
        staged(real, overwrite=force) as written,
    ):
        figure.savefig(written, dpi=150)
