"""A progress bar on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column


@contextmanager
def shown_progress(
    work: str, number: int, verbose: int
) -> Iterator[Callable[[str], None]]:
    """Show a progress bar, with a line about the last step beside it.

    Args:
        work: a word for the work, before the bar.
        number: the number of steps.
        verbose: 0 shows nothing.

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
        # This column is cut first where the terminal is narrow.
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, ratio=1),
        ),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=number)
        yield lambda line: progress.update(task, advance=1, description=line)
