"""Showing how far a path or a comparison is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from kreg.selection.training.point import PathPoint


@contextmanager
def shown_progress(
    number: int, monitor: str, verbose: int
) -> Iterator[Callable[[PathPoint], None]]:
    """A bar on a terminal, with the last point beside it.

    Args:
        number: how many points there will be.
        monitor: the validation figure to show.
        verbose: 0 shows nothing.

    Returns:
        What to call with each point.
    """
    console = Console()
    if not verbose or not console.is_terminal:
        yield lambda point: None
        return
    columns = (
        TextColumn("path"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        # It gives way where the terminal is narrow.
        TextColumn(
            "{task.description}", table_column=Column(no_wrap=True, ratio=1)
        ),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=number)

        def show(point: PathPoint) -> None:
            told = f"strength {point.strength:.3g}, "
            told += f"sparsity {point.sparsity:.1%}"
            figure = point.validation.get(monitor, point.train.get(monitor))
            if figure is not None:
                told += f", {monitor} {figure:.4g}"
            progress.update(task, advance=1, description=told)

        yield show


@contextmanager
def shown_paths(number: int, verbose: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, with the penalty of the last path beside it.

    Args:
        number: how many paths there will be.
        verbose: 0 shows nothing.

    Returns:
        What to call with the name of the penalty of each path that ends.
    """
    console = Console()
    if not verbose or not console.is_terminal:
        yield lambda name: None
        return
    columns = (
        TextColumn("paths"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        # It gives way where the terminal is narrow.
        TextColumn(
            "{task.description}", table_column=Column(no_wrap=True, ratio=1)
        ),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=number)
        yield lambda name: progress.update(
            task, advance=1, description=escape(name)
        )
