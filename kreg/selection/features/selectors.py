"""`FeatureSelector` and `StabilitySelector`: scikit-learn transformers."""

import os
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from kreg._arguments import (
    callable_object,
    instance_of,
    nonnegative_number,
    optional,
    positive_integer,
)
from kreg.selection.execution.execution import Execution
from kreg.selection.features.entry_order import first_features
from kreg.selection.features.stability import stability_selection
from kreg.selection.moved_arguments import names_moved_arguments
from kreg.selection.paths.path import path
from kreg.selection.strengths.grid import Strengths
from kreg.selection.strengths.penalty_family import PenaltyChoice
from kreg.selection.training.inputs import input_lasso
from kreg.selection.training.training import Training

# Used in place of None, because scikit-learn expects plain values as defaults.
_TRAINING = Training(200)
_EXECUTION = Execution(verbose=0)
# Parameters with attributes that scikit-learn may set, and their defaults.
_NESTED: dict[str, Any] = {"training": _TRAINING, "execution": _EXECUTION}


class InputSelector(SelectorMixin, BaseEstimator):
    """Base of the selectors: checks the data, and stores the selection.

    A subclass sets `build_model`, a function of the number of features, and
    `_fewest_rows`, the minimum number of rows.
    """

    _fewest_rows = 1

    build_model: Callable[[int], keras.Model]

    @abstractmethod
    def _selected(
        self, build_model: Callable[[], keras.Model], data: Any
    ) -> tuple[int, ...]:
        """The indices of the features to keep."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; if `deep`, also such as `training__epochs`."""
        params: dict[str, Any] = super().get_params(deep)
        for name in _NESTED.keys() & params.keys() if deep else ():
            value = _NESTED[name] if params[name] is None else params[name]
            # A value of the wrong type is refused later, in `fit`.
            for field in fields(value) if is_dataclass(value) else ():
                params[f"{name}__{field.name}"] = getattr(value, field.name)
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also nested ones like `training__epochs`.

        Args:
            **params: values by the names that `get_params` returns.

        Returns:
            The selector itself.
        """
        for name in _NESTED.keys() & self.get_params(deep=False).keys():
            start = f"{name}__"
            nested = [key for key in params if key.startswith(start)]
            if nested:
                before = params.get(name, getattr(self, name))
                if before is None:
                    before = _NESTED[name]
                kind = type(_NESTED[name])
                instance_of(name, before, kind, f"a `{kind.__name__}`")
                changes = {k.removeprefix(start): params.pop(k) for k in nested}
                params[name] = replace(before, **changes)
        super().set_params(**params)
        return self

    def fit(
        self,
        X: Any,  # noqa: N803 (of scikit-learn)
        y: Any,
        sample_weight: Any = None,
    ) -> Self:
        """Select features.

        Args:
            X: array of shape `(rows, features)`.
            y: array with a target for each row. Labels that are not numbers
                become 0, 1, ... in sorted order.
            sample_weight: array with a weight for each row. Defaults to `None`:
                equal weights.

        Returns:
            The selector itself.
        """
        x, y = validate_data(
            self,
            X,
            y,
            multi_output=True,
            ensure_min_samples=self._fewest_rows,
        )
        y = np.asarray(y)
        if y.dtype.kind not in "iufb":
            y = np.unique(y, return_inverse=True)[1].reshape(y.shape)
        data: tuple[Any, ...] = (x, y)
        if sample_weight is not None:
            data = (x, y, _check_sample_weight(sample_weight, x))
        build_model = partial(
            callable_object("build_model", self.build_model), x.shape[1]
        )
        self.support_ = np.zeros(x.shape[1], "bool")
        self.support_[list(self._selected(build_model, data))] = True
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


class FeatureSelector(InputSelector):
    """Keeps the input features that a penalized model reads.

    A scikit-learn transformer for pipelines and searches, which can also set
    `training__epochs` and the like. Choose it to predict from fewer features;
    to learn which features matter, choose `StabilitySelector`. In a pipeline,
    selection uses only the training rows of each fold, so cross-validation
    stays valid. Put a scaler before it, because a penalty compares weights, and
    these depend on the scales of the features.

    It keeps:

    - with `strength`, the features that the model reads after training at that
      strength;
    - with `num_features`, the features that enter a path first, at most that
      many;
    - with neither, the features that the model reads at the best point of a
      path, judged by `training.monitor` on the `validation` data.

    Args:
        build_model: a function of the number of features, an int, that returns
            a new built and compiled model with a single flat input of that
            size. Define it at the top level of a module if the selector is to
            be pickled or run in other processes.
        penalty: as for `kreg.path`. Defaults to
            `kreg.selection.input_lasso`, on all kernels.
        training: a `kreg.selection.Training`. Defaults to `None`:
            `Training(200)`.
        strengths: the strengths of the path, as for `kreg.path`; not used with
            `strength`. Defaults to `"auto"`.
        strength: float >= 0, the only strength to train at. Defaults to `None`:
            a path is run.
        num_features: int >= 1, the maximum number of features to keep; not to
            be combined with `strength`. Defaults to `None`: those of the best
            point.
        validation: data, or a fraction in (0, 1) of the rows, as for
            `kreg.path`; used only to find the best point. Defaults to `0.2`.
        directory: a folder for finished points, as for `kreg.path`. Defaults
            to `None`.
        seed: int >= 0, as for `kreg.path`. Defaults to `0`.

    Attributes:
        support_: bool array, whether each feature is kept.
        path_: the `kreg.selection.PathResult`.

    Raises:
        ImportError: if scikit-learn is not installed.
        TypeError: in `fit`, as `kreg.path`.
        ValueError: in `fit`, as `kreg.path`; if both `strength` and
            `num_features` are given; if the model does not have a single flat
            input that dense layers read.

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
    ...     build_model, strength=1.0,
    ...     training=kreg.selection.Training(200, batch_size=None))
    >>> selector.fit_transform(x, y).shape
    (100, 2)
    >>> selector.get_feature_names_out(["a", "b", "c", "d", "e"]).tolist()
    ['b', 'e']
    """

    @names_moved_arguments
    def __init__(
        self,
        build_model: Callable[[int], keras.Model],
        penalty: PenaltyChoice = input_lasso,
        *,
        training: Training | None = None,
        strengths: Strengths = "auto",
        strength: float | None = None,
        num_features: int | None = None,
        validation: Any = 0.2,
        directory: str | os.PathLike[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.build_model = build_model
        self.penalty = penalty
        self.training = training
        self.strengths = strengths
        self.strength = strength
        self.num_features = num_features
        self.validation = validation
        self.directory = directory
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
        optional(positive_integer, "num_features", self.num_features)
        optional(nonnegative_number, "strength", self.strength)
        needs_best_point = self.strength is None and self.num_features is None
        self.path_ = path(
            build_model,
            data,
            self.penalty,
            self.strengths if self.strength is None else [self.strength],
            training=_TRAINING if self.training is None else self.training,
            validation=self.validation if needs_best_point else None,
            directory=self.directory,
            seed=self.seed,
            verbose=0,
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
                "`build_model` must return a model with a single flat input "
                "that only dense layers read; otherwise the features that it "
                "does not read are unknown. Received: another model"
            )
        return point.selected_inputs


class StabilitySelector(InputSelector):
    """Keeps the input features that most halves of the rows select.

    A scikit-learn transformer around `kreg.selection.stability_selection`,
    whose documentation says when to choose it, how it works and what it costs.

    Args:
        build_model: a function of the number of features, an int, that returns
            a new built and compiled model with a single flat input of that
            size. Define it at the top level of a module if the selector is to
            be pickled or run in other processes.
        penalty: as for `kreg.path`. Defaults to
            `kreg.selection.input_lasso`, on all kernels.
        training: a `kreg.selection.Training`. Defaults to `None`:
            `Training(200)`.
        strengths: as for `kreg.path`. Defaults to `"auto"`.
        expected_false: float > 0, the bound on the expected number of features
            that are selected by mistake. Defaults to `1.0`.
        threshold: float in (0.5, 1], the fraction of the halves that must
            select a feature. Defaults to `0.75`.
        pairs: int >= 1, the number of pairs of halves. Defaults to `50`.
        execution: a `kreg.selection.Execution`. Defaults to `None`:
            `Execution(verbose=0)`, in this process.
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
    ...     build_model, expected_false=1.6, pairs=1,
    ...     training=kreg.selection.Training(50, batch_size=None),
    ...     strengths=kreg.selection.StrengthGrid(8, ratio=0.05))
    >>> selector.fit(x, y).get_support(indices=True).tolist()
    [1, 4]
    """

    _fewest_rows = 4

    @names_moved_arguments
    def __init__(
        self,
        build_model: Callable[[int], keras.Model],
        penalty: PenaltyChoice = input_lasso,
        *,
        training: Training | None = None,
        strengths: Strengths = "auto",
        expected_false: float = 1.0,
        threshold: float = 0.75,
        pairs: int = 50,
        execution: Execution | None = None,
        seed: int = 0,
    ) -> None:
        self.build_model = build_model
        self.penalty = penalty
        self.training = training
        self.strengths = strengths
        self.expected_false = expected_false
        self.threshold = threshold
        self.pairs = pairs
        self.execution = execution
        self.seed = seed

    def _selected(
        self, build_model: Callable[[], keras.Model], data: Any
    ) -> tuple[int, ...]:
        self.stability_ = stability_selection(
            build_model,
            data,
            self.penalty,
            training=_TRAINING if self.training is None else self.training,
            strengths=self.strengths,
            expected_false=self.expected_false,
            threshold=self.threshold,
            pairs=self.pairs,
            execution=_EXECUTION if self.execution is None else self.execution,
            seed=self.seed,
        )
        return self.stability_.selected
