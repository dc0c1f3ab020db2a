"""What kreg's feature selectors for scikit-learn have in common."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
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


class InputSelector(SelectorMixin, BaseEstimator):
    """Base of the selectors: checks the data, keeps what is selected.

    A subclass has in `build_model` a function of the number of features, and
    in `_fewest_rows` how many rows it needs.
    """

    _fewest_rows = 1

    build_model: Callable[[int], keras.Model]
    path_options: Mapping[str, Any] | None

    @abstractmethod
    def _selected(
        self, build_model: Callable[[], keras.Model], data: Any
    ) -> tuple[int, ...]:
        """The indices of the features to keep."""

    def fit(
        self,
        X: Any,  # noqa: N803 (of scikit-learn)
        y: Any,
        sample_weight: Any = None,
    ) -> Self:
        """Select features.

        Args:
            X: array of shape `(rows, features)`.
            y: array of targets, a row each; labels that are not numbers
                become 0, 1, ... in sorted order.
            sample_weight: array of the weight of each row. Defaults to `None`:
                equal ones.

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
        build_model = partial(self.build_model, x.shape[1])
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
