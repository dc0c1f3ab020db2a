"""Seeds the order of rows and the random layers of a training."""

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


class Order:
    """The random order of the rows in each pass over the data.

    Args:
        size: int, the number of rows.
        batch_size: int, the number of rows in a batch.
        passes: int, the number of passes over the data in an epoch of `fit`.
    """

    def __init__(self, size: int, batch_size: int, passes: int) -> None:
        self.size = size
        self.batch_size = min(batch_size, size)
        self.passes = passes
        self._seed: tuple[int, ...] = ()
        self._next_pass = 0

    @property
    def per_pass(self) -> int:
        """The number of batches of a pass."""
        return math.ceil(self.size / self.batch_size)

    @property
    def per_epoch(self) -> int:
        """The number of batches of an epoch."""
        return self.passes * self.per_pass

    def begin(self, seed: tuple[int, ...], first: int = 0) -> None:
        """Restart the passes from `seed`, at the pass number `first`."""
        self._seed = seed
        self._next_pass = first

    def next_epoch(self) -> list[NDArray[Any]]:
        """The row indices of each pass of the next epoch."""
        first = self._next_pass
        self._next_pass += self.passes
        return [
            np.random.default_rng((*self._seed, first + i)).permutation(
                self.size
            )
            for i in range(self.passes)
        ]


def begin_random_numbers(*seed: int) -> None:
    """Seed the random numbers of layers that have no seed of their own.

    On torch, such layers draw from torch's global generator, so their numbers
    would depend on everything drawn before. On the other backends this does
    nothing: each layer keeps its state in a variable of the model.

    Args:
        *seed: ints >= 0 that determine the numbers.
    """
    if keras.backend.backend() == "torch":
        import torch

        state = np.random.SeedSequence(seed).generate_state(1)
        torch.manual_seed(int(state[0]))


class SeededStart(keras.callbacks.Callback):
    """Seeds the order of the rows and the random numbers of a training.

    It does so when training begins, not before `fit`, because Keras reads a
    batch before the first training of a model.

    Args:
        seed: ints >= 0 that determine both.
        order: the order of the rows; None for an iterable of batches.
        first: the number of passes made before. Defaults to `0`.
    """

    def __init__(
        self, seed: tuple[int, ...], order: Order | None, first: int = 0
    ) -> None:
        super().__init__()
        self._seed = seed
        self._order = order
        self._first = first

    def on_train_begin(self, logs: Any = None) -> None:
        """Seed both."""
        later = (self._first,) if self._first else ()
        begin_random_numbers(*self._seed, *later)
        if self._order is not None:
            self._order.begin(self._seed, self._first)
