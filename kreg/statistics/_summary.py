"""`kreg.summary`: prints the figures of a model's weights as a table."""

from dataclasses import replace

import keras
from rich.console import Console

from kreg.results.table import chosen_console
from kreg.statistics.reader import read


def summary(model: keras.Model, *, console: Console | None = None) -> None:
    """Print strength, norms, zeros and dead units of every weight of a model.

    To get the same figures as an object, call `kreg.statistics.read`.

    Args:
        model: a `keras.Model` with weights, whatever regularizers it has.
        console: the `rich.console.Console` to print on. Defaults to `None`:
            a new one on standard output, as wide as the terminal, or unlimited
            if the output is piped.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if it has no weights yet.

    Example:

    >>> import keras, kreg, numpy
    >>> last = keras.layers.Dense(
    ...     2, kernel_regularizer=kreg.GroupLasso(0.1), name="last")
    >>> model = keras.Sequential([keras.Input((3,)), last], name="net")
    >>> w = numpy.array([[3.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    >>> model.set_weights([w, numpy.ones(2)])
    >>> kreg.summary(model)  # doctest: +NORMALIZE_WHITESPACE, +ELLIPSIS
    net, step 0
                                              L1    L2            dead    dead
    weight           strength        penalty  norm  norm  sparsity units inputs
    ...
    net/last/kernel  GroupLasso 0.1    0.866     7     5     66.7%   1/2    1/3
    net/last/bias                                2  1.41      0.0%
    <BLANKLINE>
    total                              0.866     9   5.2     50.0%     1      1
    """
    console = chosen_console(console)
    reading = read(model)
    title = f"{model.name}, step {reading.step:,}"
    table = replace(reading.table(), title=title)
    console.print(table)
