"""One path as a piece of work for whatever worker takes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from kreg.selection._data import TrainingData
from kreg.selection._path import path
from kreg.selection._path_result import PathResult


@dataclass(frozen=True)
class KerasSettings:
    """What Keras is set to, so that a worker does as the caller would.

    Args:
        backend: the name of the backend.
        floatx: the default dtype.
        dtype_policy: the name of the default policy.
    """

    backend: str = field(default_factory=keras.backend.backend)
    floatx: str = field(default_factory=keras.config.floatx)
    dtype_policy: str = field(
        default_factory=lambda: str(keras.config.dtype_policy().name)
    )

    def apply(self) -> None:
        """Set Keras so.

        Raises:
            RuntimeError: if it runs on another backend, which cannot be
                changed any more.
        """
        if keras.backend.backend() != self.backend:
            raise RuntimeError(
                "A worker of `executor` must run Keras on the backend of the "
                f"caller: set KERAS_BACKEND={self.backend} where it is "
                f"started. Received: {keras.backend.backend()!r} there and "
                f"{self.backend!r} here"
            )
        keras.config.set_floatx(self.floatx)
        keras.config.set_dtype_policy(self.dtype_policy)


@dataclass(frozen=True)
class PathTask:
    """A path that is run where it is called.

    Args:
        build_model: makes the model.
        data: what to train on, and what to judge by.
        penalty: the penalty, as of `kreg.path`.
        strengths: the strengths, as of `kreg.path`.
        seed: the seed.
        options: further arguments of `kreg.path`.
        directory: the folder of the path's points; None for none.
        keeps_weights: whether to bring the weights of all points back.
        settings: what Keras is to be set to.
    """

    build_model: Callable[[], keras.Model]
    data: TrainingData
    penalty: Any
    strengths: Any
    seed: int
    options: Mapping[str, Any]
    directory: Path | None = None
    keeps_weights: bool = False
    settings: KerasSettings = field(default_factory=KerasSettings)

    def __call__(self) -> PathResult:
        self.settings.apply()
        result = path(
            self.build_model,
            self.data,
            self.penalty,
            self.strengths,
            directory=self.directory,
            seed=self.seed,
            verbose=0,
            **self.options,
        )
        return result if self.keeps_weights else replace(result, weights=None)
