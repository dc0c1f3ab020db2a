"""`Execution`: where paths run, where they are saved, and their progress."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from kreg._arguments import checked_path, optional, verbosity


@dataclass(frozen=True)
class Execution:
    """Where paths run, in which folder they are saved, and what is shown.

    For `kreg.compare`, `kreg.selection.stability_selection` and
    `kreg.selection.StabilitySelector`, which run many paths. It affects how
    long they take, never their results.

    Args:
        executor: a `concurrent.futures.Executor` that runs paths in parallel:
            `kreg.selection.LocalProcesses()`, or the executor of a cluster,
            such as `Client(...).get_executor()` of dask.distributed. If a
            worker is lost, its path is run again. Defaults to `None`: paths run
            in this process, one by one, which suits a GPU and notebooks. The
            results are the same, up to rounding if machines or threads differ.
        directory: str or path of a local folder for finished paths and points,
            accessible to all workers. The same call with the same folder
            continues an interrupted run. Defaults to `None`: nothing is saved.
        verbose: 0 or 1, whether to show progress on a terminal. Defaults to
            `1`.

    Raises:
        TypeError: if an argument has another type.
        ValueError: if `verbose` is neither 0 nor 1.

    Example:

    >>> import kreg
    >>> kreg.selection.Execution(directory="finished", verbose=0)
    Execution(executor=None, directory='finished', verbose=0)
    """

    executor: Executor | None = None
    _: KW_ONLY
    directory: str | os.PathLike[str] | None = None
    verbose: int = 1

    def __post_init__(self) -> None:
        if self.executor is not None and not isinstance(
            self.executor, Executor
        ):
            raise TypeError(
                "`executor` must be a `concurrent.futures.Executor`, such as "
                "`kreg.selection.LocalProcesses()`; of a dask client it is "
                f"`client.get_executor()`. Received: executor={self.executor!r}"
                f" (of type {type(self.executor).__name__})"
            )
        checked_directory(self.directory)
        checked_verbose(self.verbose)

    def folder(self, name: str = "") -> Path | None:
        """The folder, or the subfolder `name`; None without a folder."""
        return None if self.directory is None else Path(self.directory, name)

    def __deepcopy__(self, memo: Any) -> "Execution":
        """Return the same object, as processes cannot be copied."""
        return self


def checked_execution(execution: object) -> Execution:
    """Return `execution` if it is an `Execution`."""
    if not isinstance(execution, Execution):
        raise TypeError(
            "`execution` must be a `kreg.selection.Execution`, such as "
            "`kreg.selection.Execution(verbose=0)`. "
            f"Received: execution={execution!r} (of type "
            f"{type(execution).__name__})"
        )
    return execution


def checked_directory(directory: Any) -> Path | None:
    """Return `directory` as a path, or None if it is None."""
    return optional(checked_path, "directory", directory)


def checked_verbose(verbose: Any) -> None:
    """Raise if `verbose` is neither 0 nor 1."""
    verbosity("verbose", verbose)


@contextmanager
def shown_progress(
    work: str, number: int, verbose: int
) -> Iterator[Callable[[str], None]]:
    """Show a progress bar, with a line about the last step beside it.

    Args:
        work: a word for the work, before the bar.
        number: the number of steps.
        verbose: 0 to show nothing.

    Yields:
        A function to call after each step, with a line about that step.
    """
    console = Console()
    if not verbose or not console.is_terminal:
        yield lambda line: None
        return
    columns = (
        TextColumn(work, markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        # This column is cut first on a narrow terminal.
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, ratio=1),
        ),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=number)
        yield lambda line: progress.update(task, advance=1, description=line)
