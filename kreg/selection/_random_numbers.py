"""What is random in training, decided by a seed alone."""

from typing import Any

import keras
import numpy as np

from kreg.selection._batches import Order


def begin_random_numbers(*seed: int) -> None:
    """Begin anew what layers without a seed of their own draw in training.

    On torch they draw from a generator of torch's, so that what came before
    would decide it. Elsewhere a model keeps the state of all its layers.

    Args:
        *seed: ints >= 0 that decide the numbers.
    """
    if keras.backend.backend() == "torch":
        import torch

        state = np.random.SeedSequence(seed).generate_state(1)
        torch.manual_seed(int(state[0]))


class SeededStart(keras.callbacks.Callback):
    """Begins the order of the rows and the random numbers of a training.

    When training begins and no sooner: for a model's first training Keras
    draws a batch before, to build what is missing.

    Args:
        seed: ints >= 0 that decide both.
        order: the order of the rows; None where it is not known.
    """

    def __init__(self, seed: tuple[int, ...], order: Order | None) -> None:
        super().__init__()
        self._seed = seed
        self._order = order

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew."""
        begin_random_numbers(*self._seed)
        if self._order is not None:
            self._order.begin(self._seed)
