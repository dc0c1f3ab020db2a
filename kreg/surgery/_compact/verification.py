"""Verifying that a smaller model has the same outputs, even when loaded."""

import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from json import loads
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import tree
from numpy.typing import NDArray

from kreg._keras_private import flatten_layers, trusting
from kreg.error_messages import one_line
from kreg.foreign_objects import result_or_none
from kreg.surgery.layouts import layouts_that_fit
from kreg.surgery.outputs import largest_difference, outputs_without_memory
from kreg.surgery.sample import examples, random_samples
from kreg.surgery.stripped_copy import classes_of, places_of_kreg
from kreg.surgery.stripping import set_aside, uncompiled

# The largest difference that rounding explains, relative to the largest
# output, by the type in which a layer computes.
_TOLERANCES = {
    "float64": 1e-10,
    "float32": 1e-5,
    "float16": 2e-2,
    "bfloat16": 1e-1,
}
# Accelerators may multiply with fewer digits than float32 has.
_TOLERANCE_OF_ACCELERATORS = 5e-3

# Rounding inside the model may have this many times the effect of rounding its
# inputs.
_ROUNDINGS = 100.0

_EXAMPLES = 2  # in a random batch
_SIZES = 2  # of inputs to compare on


class Verification:
    """Compares smaller models with a model.

    Args:
        model: the model.
        sample: inputs in the structure that it takes; None for random ones.
        occurring: turns random inputs into inputs that may occur. Defaults to
            a function that leaves them as they are.
    """

    def __init__(
        self,
        model: keras.Model,
        sample: Any = None,
        occurring: Callable[[Any], Any] = lambda inputs: inputs,
    ) -> None:
        self._model = model
        self._sample = sample
        self._occurring = occurring
        self._classes = _classes_in_file(model)

    def problem(
        self,
        small: keras.Model,
        reduced: Callable[[Any], Any] = lambda inputs: inputs,
    ) -> str | None:
        """What is wrong with a smaller model; None if nothing is.

        The smaller model is run, saved, loaded without the classes of kreg, and
        run again. Its file may need no class that is neither registered nor in
        the file of the model. A model that cannot be run is only saved and
        loaded. If Keras cannot save and load the model itself, the smaller one
        need not be saved, either.

        Args:
            small: the smaller model.
            reduced: takes the inputs of the model, and returns those of the
                smaller one.
        """
        problem = self._difference(small, reduced)
        if problem is not None:
            return problem
        problem = self._problem_of_file(small, reduced)
        return None if problem and self._cannot_be_saved else problem

    def build(
        self,
        model: keras.Model,
        reduced: Callable[[Any], Any] = lambda inputs: inputs,
    ) -> None:
        """Call a model of the same class, so that it has weights.

        Args:
            model: the other model.
            reduced: as for `problem`.
        """
        if self._cases:
            outputs_without_memory(model, reduced(self._cases[0][0]))
        else:
            model.build_from_config(self._model.get_build_config())

    @cached_property
    def unknown(self) -> frozenset[type]:
        """The classes of layers that Keras does not know in a loaded file.

        Those that are not registered count as known if the file of the model
        names them, because it needs them, too. To find them the model is run,
        so its layers must be as they are.
        """
        unknown = frozenset(
            cls
            for name, cls in classes_of(self._model).items()
            # Keras finds the classes of its own packages.
            if not cls.__module__.startswith("keras")
            and name not in self._classes
            and name not in keras.saving.get_custom_objects()
        )
        return frozenset() if unknown and self._cannot_be_saved else unknown

    @cached_property
    def runs(self) -> bool:
        """Whether the model runs on the sample."""
        return bool(self._cases)

    @cached_property
    def _cases(self) -> list[tuple[Any, list[NDArray[Any]]]]:
        """Inputs of two sizes on which the model runs, and its outputs.

        There are two sizes because a smaller model may work for one size only.
        """
        if self._sample is None:
            samples = [
                self._occurring(sample)
                for sample in random_samples(self._model, _EXAMPLES, masks=True)
            ]
        else:
            samples = [self._sample, _shorter(self._sample)]
        samples += [examples(sample, 1) for sample in samples[:1]]
        cases: list[tuple[Any, list[NDArray[Any]]]] = []
        for sample in samples:
            try:
                cases.append(
                    (sample, outputs_without_memory(self._model, sample))
                )
            except Exception:  # the model may not take these sizes
                continue
            if len(cases) == _SIZES:
                break
        return cases

    @cached_property
    def _tolerance(self) -> float:
        dtypes = {layer.compute_dtype for layer in flatten_layers(self._model)}
        floats = [dtype for dtype in dtypes if dtype in _TOLERANCES]
        if all(dtype == "float64" for dtype in floats):
            return _TOLERANCES["float64"] if floats else 1e-5
        tolerance = max(_TOLERANCES[dtype] for dtype in floats)
        if _is_on_accelerator(self._model):
            tolerance = max(tolerance, _TOLERANCE_OF_ACCELERATORS)
        return tolerance

    def _difference(
        self, small: keras.Model, reduced: Callable[[Any], Any]
    ) -> str | None:
        for sample, expected in self._cases:
            problem = self._difference_on(sample, expected, small, reduced)
            if problem is not None:
                return problem
        return None

    def _difference_on(
        self,
        sample: Any,
        expected: list[NDArray[Any]],
        small: keras.Model,
        reduced: Callable[[Any], Any],
    ) -> str | None:
        try:
            outputs = outputs_without_memory(small, reduced(sample))
        except Exception as error:  # whatever its layers raise
            return f"it does not run: {one_line(error)}"
        difference = largest_difference(expected, outputs)
        if difference <= self._tolerance:
            return None
        if difference <= _ROUNDINGS * self._rounding(sample, expected):
            return None
        return f"its outputs differ by {difference:.1e} of the largest"

    def _rounding(self, sample: Any, expected: list[NDArray[Any]]) -> float:
        """How much the outputs change if the inputs change by rounding.

        It is infinite for a random model, whose outputs differ in each run.
        """
        again = outputs_without_memory(self._model, sample)
        if largest_difference(expected, again) > 0.1 * self._tolerance:
            return float("inf")
        moved = tree.map_structure(_rounded_up, sample)
        return largest_difference(
            expected, outputs_without_memory(self._model, moved)
        )

    def _problem_of_file(
        self, small: keras.Model, reduced: Callable[[Any], Any]
    ) -> str | None:
        try:
            loaded, config = _saved_and_loaded(small, self._classes)
        except Exception as error:  # whatever its layers raise
            return f"its file cannot be loaded: {one_line(error)}"
        place = next(places_of_kreg(config), None)
        if place is not None:
            return f"its file has an object of kreg at `{place}`"
        problem = self._difference(loaded, reduced)
        return f"loaded from its file, {problem}" if problem else None

    @cached_property
    def _cannot_be_saved(self) -> bool:
        """Whether plain Keras cannot save and load the model, either."""
        with ExitStack() as undo:
            undo.enter_context(set_aside(self._model))
            undo.enter_context(uncompiled(self._model))
            try:
                loaded, _ = _saved_and_loaded(self._model, self._classes)
            except Exception:  # whatever its layers raise
                return True
            return self._difference(loaded, lambda x: x) is not None


def _is_on_accelerator(model: keras.Model) -> bool:
    if keras.backend.backend() == "torch":
        devices = [str(variable.value.device) for variable in model.variables]
    else:
        devices = keras.distribution.list_devices()
    return any("cpu" not in device.lower() for device in devices)


def _rounded_up(x: Any) -> NDArray[Any]:
    """An array whose numbers are larger by two rounding errors."""
    x = keras.ops.convert_to_numpy(x)
    if not np.issubdtype(x.dtype, np.floating):
        return x
    return x * (1 + 2 * np.finfo(x.dtype).eps)


def _shorter(sample: Any) -> Any:
    """One example, shorter by one along the first axis after the batch."""
    return tree.map_structure(
        lambda x: x[:, :-1] if x.ndim > 2 - (x.dtype.kind == "i") else x,
        examples(sample, 1),
    )


def _classes_in_file(model: keras.Model) -> dict[str, type]:
    """The classes of a model's layers that its own file names.

    A class that a custom layer uses in its code need not be in the file.
    """
    classes = classes_of(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of lambdas
        config = result_or_none(
            lambda: keras.saving.serialize_keras_object(model)
        )
    if config is None:
        return classes
    texts = {text for text in tree.flatten(config) if isinstance(text, str)}
    return {
        name: cls
        for name, cls in classes.items()
        if texts & {name, cls.__name__}
    }


def _saved_and_loaded(
    model: keras.Model, classes: Mapping[str, type]
) -> tuple[keras.Model, Any]:
    """The model that Keras loads from the file of `model`, and its config.

    Args:
        model: the model.
        classes: the classes that need not be registered, by their names.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Keras warns of lambdas, and of classes that it may not find again.
        warnings.simplefilter("ignore")
        path = Path(folder, "model.keras")
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            config = loads(archive.read("config.json"))
        # This scope takes the place of one around it.
        known = keras.saving.custom_object_scope(dict(classes))
        with layouts_that_fit(), trusting(), known:
            loaded = keras.saving.load_model(path, compile=False)
    return loaded, config
