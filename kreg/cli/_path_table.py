"""A path as a table for people."""

from rich import box
from rich.markup import escape
from rich.table import Table

from kreg.selection import PathPoint, PathResult


def path_table(result: PathResult) -> Table:
    """The points of a path, in the order in which they were run.

    Args:
        result: the path.
    """
    monitor = escape(result.monitor)
    table = Table(
        title=escape(result.penalty), box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1)
    )
    for heading in (
        "strength",
        "sparsity",
        "nonzeros",
        "inputs",
        f"train\n{monitor}",
        f"validation\n{monitor}",
        "epochs",
        "converged",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for point in result.points:
        table.add_row(*_cells(point, result.monitor))
    return table


def _cells(point: PathPoint, monitor: str) -> list[str]:
    read, figure = point.selected_inputs, point.validation.get(monitor)
    return [
        f"{point.strength:.3g}",
        f"{point.sparsity:.1%}",
        str(point.nonzeros),
        "" if read is None else str(len(read)),
        f"{point.train[monitor]:.4g}",
        "" if figure is None else f"{figure:.4g}",
        str(point.epochs),
        "yes" if point.converged else "no",
    ]
