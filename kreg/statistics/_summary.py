"""A reading as a table for people."""

import keras
from rich.console import Console
from rich.table import Table

from kreg.statistics.reader import read
from kreg.statistics.reading import Reading, WeightReading


def summary(model: keras.Model, *, console: "Console | None" = None) -> None:
    """Print strength, norms, zeros and dead units of every weight of a model.

    For the same as records call `kreg.statistics.read`.

    Args:
        model: a built `keras.Model`, whatever regularizers it has.
        console: the `rich.console.Console` to print on. Defaults to `None`:
            a new one on standard output.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if it is not built.

    Example:

    >>> import keras, kreg, numpy
    >>> from rich.console import Console
    >>> last = keras.layers.Dense(
    ...     2, kernel_regularizer=kreg.GroupLasso(0.1), name="last")
    >>> model = keras.Sequential([keras.Input((3,)), last], name="net")
    >>> w = numpy.array([[3.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    >>> model.set_weights([w, numpy.ones(2)])
    >>> kreg.summary(model, console=Console(width=90))
    ... # doctest: +NORMALIZE_WHITESPACE, +ELLIPSIS
                                       net, step 0
    <BLANKLINE>
                                            L1    L2             dead    dead
      weight          strength      penalty  norm  norm  sparsity  units  inputs
     ...
      net/last/kernel GroupLasso 0.1  0.866     7     5     66.7%    1/2     1/3
      net/last/bias                             2  1.41      0.0%
    <BLANKLINE>
      total                           0.866     9   5.2     50.0%      1       1
    <BLANKLINE>
    """
    from rich.console import Console

    reading = read(model)
    console = console or Console()
    console.print(_table(model.name, reading))


def _table(name: str, reading: Reading) -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{escape(name)}, step {reading.step:,}",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        show_footer=True,
    )
    table.add_column("weight", "total", overflow="fold")
    table.add_column("strength", overflow="fold")
    for heading, total in (
        ("penalty", f"{reading.penalty:.3g}"),
        ("L1\nnorm", f"{reading.l1_norm:.3g}"),
        ("L2\nnorm", f"{reading.l2_norm:.3g}"),
        ("sparsity", f"{reading.sparsity:.1%}"),
        ("dead\nunits", f"{reading.dead_units:,}"),
        ("dead\ninputs", f"{reading.dead_inputs:,}"),
    ):
        table.add_column(heading, total, justify="right", no_wrap=True)
    for weight in reading.weights:
        table.add_row(
            escape(weight.path),
            escape(_strength(weight)),
            f"{weight.penalty:.3g}" if weight.regularizer else "",
            f"{weight.l1_norm:.3g}",
            f"{weight.l2_norm:.3g}",
            f"{weight.sparsity:.1%}",
            _part(weight.dead_units, weight.units),
            _part(weight.dead_inputs, weight.inputs),
        )
    return table


def _strength(weight: WeightReading) -> str:
    if weight.regularizer is None:
        return ""
    values = " ".join(f"{value:.3g}" for value in weight.strengths.values())
    frozen = "" if weight.trainable else " (frozen)"
    return f"{weight.regularizer} {values}{frozen}".rstrip()


def _part(count: int | None, total: int | None) -> str:
    return "" if count is None else f"{count:,}/{total:,}"
