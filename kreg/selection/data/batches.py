"""Batches of rows: in a seeded order for training, and for evaluation."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.selection.data.order import Order
from kreg.selection.data.rows import Arrays, Structure, map_arrays


class OrderedBatches(keras.utils.PyDataset):
    """Batches of arrays in an order, on any backend.

    Args:
        arrays: the rows.
        order: their order.
    """

    def __init__(self, arrays: Arrays, order: Order) -> None:
        super().__init__()
        self._arrays = arrays
        self._order = order
        self._passes: list[NDArray[Any]] = []

    @property
    def num_batches(self) -> int:
        return self._order.per_epoch

    def on_epoch_begin(self) -> None:
        """Draw the order of rows for each pass of the next epoch."""
        self._passes = self._order.next_epoch()

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if self._order.per_pass == 1:
            return fit_arguments(self._arrays)
        if not self._passes:
            # Keras reads a batch before the first epoch, to infer its types.
            return fit_arguments(
                self._arrays.rows(range(self._order.batch_size))
            )
        number, place = divmod(index, self._order.per_pass)
        start = place * self._order.batch_size
        rows = self._passes[number][start : start + self._order.batch_size]
        return fit_arguments(self._arrays.rows(rows))


def ordered_batches(arrays: Arrays, order: Order) -> Any:
    """Batches for `fit`; each iteration is one epoch."""
    arrays = in_precision(arrays)
    if keras.backend.backend() == "tensorflow":
        from kreg.selection.data import _tensorflow

        return _tensorflow.ordered_batches(arrays, order)
    return OrderedBatches(arrays, order)


def evaluation_batches(arrays: Arrays, batch_size: int) -> Any:
    """Batches for `evaluate`, created once and used at every strength."""
    arrays, order = in_precision(arrays), Order(arrays.size, batch_size, 1)
    if keras.backend.backend() == "tensorflow":
        from kreg.selection.data import _tensorflow

        return _tensorflow.batches(arrays, order)
    return PlainBatches(arrays, order)


class PlainBatches(keras.utils.PyDataset):
    """Batches of arrays in the order of the rows.

    Args:
        arrays: the rows.
        order: has the size of a batch.
    """

    def __init__(self, arrays: Arrays, order: Order) -> None:
        super().__init__()
        self._arrays = arrays
        self._order = order

    @property
    def num_batches(self) -> int:
        return self._order.per_pass

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        start = index * self._order.batch_size
        stop = min(start + self._order.batch_size, self._order.size)
        return fit_arguments(self._arrays.rows(range(start, stop)))


def batches_of(
    part: Any, batch_size: int
) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Batches in the order of the data, each with its number of rows."""
    if isinstance(part, Arrays):
        for start in range(0, part.size, batch_size):
            rows = range(start, min(start + batch_size, part.size))
            yield fit_arguments(part.rows(rows)), len(rows)
        return
    batches = part
    if isinstance(part, keras.utils.PyDataset):
        batches = (part[index] for index in range(part.num_batches))
    for batch in batches:
        arrays = keras.tree.map_structure(
            keras.ops.convert_to_numpy, tuple(batch)
        )
        yield arrays, len(keras.tree.flatten(arrays)[0])


def some_rows(part: Any, most: int) -> Any:
    """At most `most` rows: spread over arrays, or the first of an iterable."""
    if isinstance(part, Arrays):
        if part.size <= most:
            return part
        return part.rows(np.linspace(0, part.size - 1, most).astype("int64"))
    taken, rows = [], 0
    for batch, size in batches_of(part, most):
        taken.append(batch)
        rows += size
        if rows >= most:
            break
    return taken


def in_precision(part: Any) -> Any:
    """Convert the floating point arrays to Keras's `floatx`.

    An iterable of batches is returned as it is.
    """

    def converted(array: NDArray[Any]) -> NDArray[Any]:
        if not np.issubdtype(array.dtype, np.floating):
            return array
        return array.astype(keras.config.floatx(), copy=False)

    return map_arrays(converted, part) if isinstance(part, Arrays) else part


def fit_arguments(arrays: Arrays) -> tuple[Structure, ...]:
    """`(x, y)` or `(x, y, sample_weight)`, as `fit` takes a batch."""
    if arrays.sample_weight is None:
        return arrays.x, arrays.y
    return arrays.x, arrays.y, arrays.sample_weight
