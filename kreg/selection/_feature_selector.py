"""Feature selection by one path, for scikit-learn."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from kreg.selection._features import first_features
from kreg.selection._input_lasso import input_lasso
from kreg.selection._input_selector import InputSelector
from kreg.selection._path import path


class FeatureSelector(InputSelector):
    """Keeps the input features that a penalized model reads.

    A transformer of scikit-learn, for its pipelines and searches. Choose it
    for prediction from fewer features; `StabilitySelector` is for knowing
    which features matter. In a pipeline, selection sees the training rows of
    each fold alone, so that cross-validation stays honest. Put a scaler before
    it: a penalty compares weights, and so the scales of features.

    Which features it keeps:

    - with `strength`, those that the model reads after training at it;
    - with `num_features`, those that enter a path first, so many at most;
    - with neither, those that the best point of a path reads, by its
      `monitor` on a fifth of the rows that is set aside.

    Args:
        build_model: a function of the number of features, an int, that returns
            a new model with a single flat input of that many, built and
            compiled. At the top of a module, if the selector is to be pickled
            or run in other processes.
        penalty: as for `kreg.path`. Defaults to
            `kreg.selection.input_lasso`, on all kernels.
        epochs: int >= 1, as for `kreg.path`. Defaults to `200`.
        strength: float >= 0. Defaults to `None`: a path is run.
        num_features: int >= 1, how many features to keep at most; not with
            `strength`. Defaults to `None`: as many as validate best.
        path_options: dict of other arguments of `kreg.path`, such as
            `{"batch_size": None}`. Defaults to `None`.
        seed: int >= 0, as for `kreg.path`. Defaults to `0`.

    Attributes:
        support_: bool array, whether each feature is kept.
        path_: the `kreg.selection.PathResult`.

    Raises:
        ImportError: if scikit-learn is not installed.
        TypeError: in `fit`, as `kreg.path`.
        ValueError: in `fit`, as `kreg.path`; if both `strength` and
            `num_features` are given; if the model does not tell which features
            it reads.

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
    >>> selector = kreg.selection.FeatureSelector(
    ...     build_model, strength=1.0, path_options={"batch_size": None})
    >>> selector.fit_transform(x, y).shape
    (100, 2)
    >>> selector.get_feature_names_out(["a", "b", "c", "d", "e"]).tolist()
    ['b', 'e']
    """

    def __init__(
        self,
        build_model: Callable[[int], keras.Model],
        penalty: Any = input_lasso,
        *,
        epochs: int = 200,
        strength: float | None = None,
        num_features: int | None = None,
        path_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.build_model = build_model
        self.penalty = penalty
        self.epochs = epochs
        self.strength = strength
        self.num_features = num_features
        self.path_options = path_options
        self.seed = seed

    def _selected(
        self, build_model: Callable[[], keras.Model], data: Any
    ) -> tuple[int, ...]:
        if self.strength is not None and self.num_features is not None:
            raise ValueError(
                "`strength` or `num_features` must be None: each says which "
                f"features to keep. Received: strength={self.strength}, "
                f"num_features={self.num_features}"
            )
        options: dict[str, Any] = {"verbose": 0, "seed": self.seed}
        if self.strength is not None:
            options["strengths"] = [self.strength]
        elif self.num_features is None:
            options["validation_split"] = 0.2
        self.path_ = path(
            build_model,
            data,
            self.penalty,
            epochs=self.epochs,
            **{**options, **(self.path_options or {})},
        )
        if self.num_features is not None:
            return first_features(self.path_, self.num_features)
        point = (
            self.path_.best()
            if self.strength is None
            else self.path_.points[-1]
        )
        if point.selected_inputs is None:
            raise ValueError(
                "`build_model` must make a model with a single flat input "
                "that dense layers read, or features that it does not read "
                "cannot be told. Received: a model that has none"
            )
        return point.selected_inputs
