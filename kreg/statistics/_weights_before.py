"""What the weights were before an update."""

from collections.abc import Callable, Sequence

import keras
from keras import ops


class WeightsBefore:
    """Copies of weights, taken before an update to see how far it goes.

    Args:
        weights: the weights.

    Attributes:
        copies: a variable for each weight.
        is_fresh: whether they were taken before the last update; for the
            reader of the copies to reset.
    """

    def __init__(self, weights: Sequence[keras.Variable]) -> None:
        self._weights = weights
        self.copies = [
            keras.Variable(
                ops.zeros(weight.shape, weight.dtype),
                trainable=False,
                dtype=weight.dtype,
                name="kreg_before",
            )
            for weight in weights
        ]
        self._copy = _as_graph(self._copy_all)
        self.is_fresh = False

    def are_of(self, weights: Sequence[keras.Variable]) -> bool:
        """Whether these are copies of exactly `weights`."""
        pairs = zip(self._weights, weights, strict=False)
        return len(weights) == len(self._weights) and all(
            own is other for own, other in pairs
        )

    def take(self) -> None:
        """Copy the weights as they are now."""
        self._copy()
        self.is_fresh = True

    def _copy_all(self) -> None:
        for copy, weight in zip(self.copies, self._weights, strict=True):
            copy.assign(_own(weight))


def _own(weight: keras.Variable) -> object:
    """The value, where that is not copied by assigning it."""
    value = ops.convert_to_tensor(weight)
    # JAX assigns by reference, to an array that a training step may reuse.
    return ops.copy(value) if keras.backend.backend() == "jax" else value


def _as_graph(function: Callable[[], None]) -> Callable[[], None]:
    if keras.backend.backend() == "tensorflow":
        from kreg.statistics import _tensorflow

        return _tensorflow.as_graph(function)
    return function
