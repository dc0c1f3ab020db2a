"""`Arrays` and `TrainingData`: training data, checked and split once."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg._arguments import real_number


def class_labels(y: Any) -> NDArray[Any] | None:
    """The class of each row if `y` is one array of class labels; else None.

    Class labels are integers or booleans, numbers that are all 0 or 1, or
    one-hot rows. scikit-learn's `type_of_target` would also treat 2.0 and 3.0
    as classes, but in Keras they are regression targets.
    """
    if not isinstance(y, np.ndarray) or y.ndim not in (1, 2):
        return None
    if y.ndim == 2 and y.shape[1] > 1:
        one_hot = np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()
        return y.argmax(axis=1) if one_hot else None
    flat = y.reshape(-1)
    if flat.dtype.kind in "iub" or np.isin(flat, (0, 1)).all():
        return flat
    return None


def refuse_one_class(
    part: str,
    labels: NDArray[Any] | None,
    all_labels: NDArray[Any] | None,
) -> None:
    """Raise if a part of the rows has a single class.

    Args:
        part: the name of the part in the message.
        labels: the classes of its rows; None if the targets are not classes.
        all_labels: the classes of all rows, or None.
    """
    if labels is None or all_labels is None or len(labels) < 2:
        return
    if len(np.unique(labels)) == 1:
        raise ValueError(
            f"The {part} part must have rows of at least two classes: use a "
            "larger part, or another `seed`. "
            f"Received: {len(labels)} rows, all of class {labels[0]}"
        )


def _refuse_targets_alike(labels: NDArray[Any] | None) -> None:
    """Raise if all rows have the same target, a class or a number."""
    if labels is None or len(labels) < 2 or len(np.unique(labels)) > 1:
        return
    raise ValueError(
        "`data` must have targets that differ: if all are the same, nothing is "
        "left to select once a bias is fitted. "
        f"Received: {len(labels)} rows, all with the target {labels[0]}"
    )


Structure = Any
"""An array, or lists, tuples and dicts of arrays, as a model accepts them."""


@dataclass(frozen=True)
class Arrays:
    """Rows of inputs and targets.

    Args:
        x: the inputs, an array or a structure of them.
        y: the targets, an array or a structure of arrays.
        sample_weight: the weight of each row; None for equal weights.
    """

    x: Structure
    y: Structure
    sample_weight: Structure | None = None

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(keras.tree.flatten(self.x)[0])

    def rows(self, indices: Sequence[int] | NDArray[Any]) -> "Arrays":
        """Some of the rows, in the order of the indices."""
        chosen = np.asarray(indices)
        return map_arrays(lambda array: array[chosen], self)

    def fingerprint(self) -> str:
        """A hash of all arrays, to recognize the same rows later."""
        digest = hashlib.sha256()
        for array in keras.tree.flatten((self.x, self.y, self.sample_weight)):
            if array is not None:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class TrainingData:
    """The training data of a model, and its validation data.

    Args:
        train: `Arrays`, or an iterable of batches as for `fit`.
        validation: data in the same forms; None without validation data.
    """

    train: Any
    validation: Any = None

    def fingerprint(self) -> str:
        """A text by which to recognize the same data later.

        An iterable is represented only by its type, because reading it may be
        slow or change it.
        """
        return ",".join(
            part.fingerprint()
            if isinstance(part, Arrays)
            else type(part).__name__
            for part in (self.train, self.validation)
        )


def training_data(
    data: Any,
    validation: Any = None,
    seed: int = 0,
    *,
    argument: str = "validation",
    needs_rows: str | None = None,
) -> TrainingData:
    """Check the data, and split them once.

    Args:
        data: `(x, y)` or `(x, y, sample_weight)`, arrays or structures of them,
            or an iterable of batches as for `fit`.
        validation: data in the same forms; or, if `data` are arrays, a fraction
            in (0, 1) of the rows, drawn by `seed`, and stratified if the
            targets are class labels. Defaults to `None`.
        seed: int, the seed of the split.
        argument: the user's name of `validation`, for messages.
        needs_rows: why `data` must be arrays, for the message. Defaults to
            `None`: an iterable is accepted, too.

    Raises:
        TypeError: if the data have none of these forms.
        ValueError: if the data are empty, hold NaN or infinity, or differ in
            their numbers of rows; if all targets are the same, or a part has a
            single class.
    """
    train = checked_part("data", data)
    if isinstance(train, Arrays):
        _refuse_targets_alike(class_labels(train.y))
    if needs_rows is not None and not isinstance(train, Arrays):
        raise TypeError(
            "`data` must be `(x, y)` or `(x, y, sample_weight)` of arrays, "
            f"because {needs_rows}. "
            f"Received: data of type {type(data).__name__}"
        )
    if isinstance(validation, Real):
        train, validation = _split(argument, train, validation, seed)
    elif validation is not None:
        validation = checked_part(argument, validation)
    if isinstance(train, Arrays):
        labels = class_labels(train.y)
        refuse_one_class("training", labels, labels)
        if isinstance(validation, Arrays):
            refuse_one_class(argument, class_labels(validation.y), labels)
    return TrainingData(train, validation)


def map_arrays(function: Any, arrays: Arrays) -> Arrays:
    """The rows with a function applied to every array."""

    def mapped(structure: Structure | None) -> Structure | None:
        if structure is None:
            return None
        return keras.tree.map_structure(function, structure)

    return Arrays(
        mapped(arrays.x), mapped(arrays.y), mapped(arrays.sample_weight)
    )


def checked_part(name: str, data: Any) -> Any:
    """Return one part of the data as `Arrays`, or an iterable as it is.

    Raises:
        TypeError: if `data` is neither arrays nor an iterable that can be read
            repeatedly.
        ValueError: if arrays do not fit together, or are not finite.
    """
    if isinstance(data, Arrays):
        data = (data.x, data.y, data.sample_weight)
    if isinstance(data, (tuple, list)):
        if len(data) not in (2, 3):
            raise ValueError(
                f"`{name}` must be `(x, y)` or `(x, y, sample_weight)`. "
                f"Received: {name} with {len(data)} entries"
            )
        arrays = map_arrays(np.asarray, Arrays(*data))
        check_arrays(name, arrays)
        return arrays
    if isinstance(data, (np.ndarray, str, bytes, Mapping)) or not (
        isinstance(data, (Iterable, keras.utils.PyDataset))
    ):
        raise TypeError(
            f"`{name}` must be `(x, y)`, `(x, y, sample_weight)`, or an "
            "iterable of batches such as a `tf.data.Dataset`. "
            f"Received: {name} of type {type(data).__name__}"
        )
    if iter(data) is data:
        raise TypeError(
            f"`{name}` must be iterable more than once: every strength reads "
            "it again. Received: "
            f"{name} of type {type(data).__name__}, which is an iterator"
        )
    return data


def _split(
    argument: str, train: Any, value: Any, seed: int
) -> tuple[Arrays, Arrays]:
    """Split rows in two, with a fraction of them in the second part.

    The split is random, and stratified if the targets are class labels.
    scikit-learn's `train_test_split` would refuse a class with only one row,
    and a path does not need scikit-learn otherwise.
    """
    fraction = real_number(argument, value)
    if not 0.0 < fraction < 1.0:
        raise ValueError(
            f"`{argument}` must be data, or a fraction in (0, 1). "
            f"Received: {argument}={value!r}"
        )
    if not isinstance(train, Arrays):
        raise ValueError(
            f"`{argument}` must be data if `data` is an iterable of batches, "
            "which cannot be split. "
            f"Received: {argument}={value!r}, with data of type "
            f"{type(train).__name__}"
        )
    order = np.random.default_rng(seed).permutation(train.size)
    labels = class_labels(train.y)
    if labels is not None:
        # Sort the rows by class, so that evenly spaced rows are stratified.
        order = order[np.argsort(labels[order], kind="stable")]
    number = round(fraction * train.size)
    if not 0 < number < train.size:
        raise ValueError(
            f"`{argument}` must leave rows in both parts. Received: "
            f"{argument}={value!r} of {train.size} rows"
        )
    places = np.floor((np.arange(number) + 0.5) * train.size / number)
    chosen = np.zeros(train.size, "bool")
    chosen[order[places.astype("int64")]] = True
    return train.rows(np.flatnonzero(~chosen)), train.rows(
        np.flatnonzero(chosen)
    )


def check_arrays(name: str, arrays: Arrays) -> None:
    """Raise if arrays are not rows to train on.

    Args:
        name: the user's name of the data, for messages.
        arrays: inputs, targets and weights.

    Raises:
        ValueError: if the arrays are empty, differ in their numbers of rows,
            or hold anything but finite numbers.
    """
    leaves = [
        leaf
        for leaf in keras.tree.flatten(
            (arrays.x, arrays.y, arrays.sample_weight)
        )
        if leaf is not None
    ]
    shapes = [leaf.shape for leaf in leaves]
    sizes = {shape[0] if shape else None for shape in shapes}
    if len(sizes) != 1 or None in sizes:
        raise ValueError(
            f"`{name}` must hold arrays with equally many rows. "
            f"Received: arrays of the shapes {shapes}"
        )
    if sizes == {0}:
        raise ValueError(f"`{name}` must hold rows. Received: no row")
    for leaf in leaves:
        if leaf.dtype.kind in "fc" and not np.isfinite(leaf).all():
            bad = int((~np.isfinite(leaf)).sum())
            raise ValueError(
                f"`{name}` must hold finite numbers: impute or remove missing "
                f"values. Received: {bad} entries that are NaN or infinite "
                f"in an array of shape {leaf.shape}"
            )
    for leaf in keras.tree.flatten((arrays.y, arrays.sample_weight)):
        if leaf is not None and leaf.dtype.kind not in "biufc":
            raise ValueError(
                f"`{name}` must hold numbers as targets and weights: number "
                "the classes, such as by "
                "`numpy.unique(y, return_inverse=True)[1]`. Received: an array "
                f"of dtype {leaf.dtype}"
            )
    if isinstance(arrays.sample_weight, np.ndarray) and (
        (arrays.sample_weight < 0).any() or not arrays.sample_weight.any()
    ):
        raise ValueError(
            f"`sample_weight` in `{name}` must be non-negative, and not all "
            "zero. Received: sample_weight from "
            f"{arrays.sample_weight.min()} to {arrays.sample_weight.max()}"
        )
