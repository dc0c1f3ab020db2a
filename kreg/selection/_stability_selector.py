"""Stability selection, for scikit-learn."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

import keras

from kreg.selection._input_lasso import input_lasso
from kreg.selection._input_selector import InputSelector
from kreg.selection._stability import stability_selection


class StabilitySelector(InputSelector):
    """Keeps the input features that most halves of the rows select.

    A transformer of scikit-learn around
    `kreg.selection.stability_selection`, which tells what it does, when to
    choose it, and what it costs.

    Args:
        build_model: a function of the number of features, an int, that returns
            a new model with a single flat input of that many, built and
            compiled. At the top of a module, if the selector is to be pickled
            or run in other processes.
        penalty: as for `kreg.path`. Defaults to
            `kreg.selection.input_lasso`, on all kernels.
        epochs: int >= 1, as for `kreg.path`. Defaults to `200`.
        expected_false: float > 0, the bound on the expected number of features
            that are selected by mistake. Defaults to `1.0`.
        threshold: float in (0.5, 1], the fraction of the halves. Defaults to
            `0.75`.
        pairs: int >= 1, how many pairs of halves. Defaults to `50`.
        executor: a `concurrent.futures.Executor`. Defaults to `None`: in this
            process.
        path_options: dict of other arguments of `stability_selection`, such
            as `{"batch_size": None}`. Defaults to `None`.
        seed: int >= 0. Defaults to `0`.

    Attributes:
        support_: bool array, whether each feature is kept.
        stability_: the `kreg.selection.StabilityResult`.

    Raises:
        ImportError: if scikit-learn is not installed.
        TypeError: in `fit`, as `stability_selection`.
        ValueError: in `fit`, as `stability_selection`.

    Example:

    >>> import keras, kreg, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(100, 5))
    >>> y = 3.0 * x[:, 1] - 2.0 * x[:, 4] + rng.normal(size=100)
    >>> def build_model(num_features):
    ...     model = keras.Sequential([
    ...         keras.Input((num_features,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    ...     return model
    >>> selector = kreg.selection.StabilitySelector(
    ...     build_model, epochs=50, expected_false=1.6, pairs=1,
    ...     path_options={"batch_size": None, "num_strengths": 8,
    ...                   "ratio": 0.05})
    >>> selector.fit(x, y).get_support(indices=True).tolist()
    [1, 4]
    """

    _fewest_rows = 4

    def __init__(
        self,
        build_model: Callable[[int], keras.Model],
        penalty: Any = input_lasso,
        *,
        epochs: int = 200,
        expected_false: float = 1.0,
        threshold: float = 0.75,
        pairs: int = 50,
        executor: Executor | None = None,
        path_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.build_model = build_model
        self.penalty = penalty
        self.epochs = epochs
        self.expected_false = expected_false
        self.threshold = threshold
        self.pairs = pairs
        self.executor = executor
        self.path_options = path_options
        self.seed = seed

    def _selected(
        self, build_model: Callable[[], keras.Model], data: Any
    ) -> tuple[int, ...]:
        self.stability_ = stability_selection(
            build_model,
            data,
            self.penalty,
            epochs=self.epochs,
            expected_false=self.expected_false,
            threshold=self.threshold,
            pairs=self.pairs,
            executor=self.executor,
            seed=self.seed,
            **{"verbose": 0, **(self.path_options or {})},
        )
        return self.stability_.selected
