"""`kreg.export`: writes a model that runs without kreg, and checks it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kreg._arguments import (
    boolean,
    built_model,
    checked_path,
    optional,
    positive_integer,
    positive_number,
)
from kreg._keras_private import flatten_layers
from kreg.deployment._outputs import artefact_outputs
from kreg.deployment._shippable import shippable
from kreg.deployment.formats import cause_or_remedy, require_format, write
from kreg.files.atomic import refuse_path, staged
from kreg.results.result import SavedResult
from kreg.surgery.outputs import largest_difference, model_outputs
from kreg.surgery.sample import (
    Structure,
    checked_sample,
    examples,
    flat,
    input_tensors,
    random_sample,
)


@dataclass(frozen=True, repr=False)
class ExportRecord(SavedResult):
    """The artefact that `kreg.export` wrote, and how much its outputs differ.

    Args:
        path: the path of the artefact, a file or the folder of a SavedModel.
        format: the format, as passed to `kreg.export`.
        bytes: the size of the file, or of all files in the folder.
        largest_difference: the largest difference between an output of the
            artefact and the model's, as a fraction of the largest absolute
            value in that output.
        seconds: the total time of stripping, conversion and check.
    """

    path: Path
    format: str
    bytes: int
    largest_difference: float
    seconds: float

    def headline(self) -> dict[str, Any]:
        """The place, the size and the largest difference of outputs."""
        return {
            "path": str(self.path),
            "format": self.format,
            "bytes": self.bytes,
            "largest_difference": self.largest_difference,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ExportRecord":
        """The inverse of `to_dict`."""
        return cls(**{**values, "path": Path(values["path"])})


def bytes_at(path: Path) -> int:
    """The size of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


# The default tolerances for layers that compute in these dtypes.
_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    format: str = "tf_saved_model",  # noqa: A002, the name in Keras
    *,
    compact: bool = False,
    sample: Structure | None = None,
    batch_size: int | None = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    **options: Any,
) -> ExportRecord:
    """Write a model that runs without kreg, and check its outputs.

    Keras writes the model with `model.export` or `model.save` while kreg's
    objects are removed from it; they are restored in any case. With
    `compact=True` it writes a copy without dead units. The artefact is then run
    in its own runtime and compared with the model, and moved to `path` only
    after that. A `.keras` file holds a model that is not compiled.

    Choose the format by what will run it: `"tf_saved_model"` for TensorFlow
    and TensorFlow Serving; `"litert"` for phones and small devices; `"onnx"`
    for ONNX Runtime and others; `"keras"` for Keras itself, on any backend.
    ONNX and LiteRT need the packages of `pip install 'kreg[export]'`. On the
    JAX backend a SavedModel needs TensorFlow, ONNX needs `jax2onnx`, and there
    is no LiteRT; on torch ONNX needs `onnxscript`, LiteRT `litert-torch`, and
    there is no SavedModel. An artefact for LiteRT that would need operations
    of TensorFlow is refused.

    Args:
        model: a built `keras.Model`, compiled or not.
        path: the path of the artefact: a folder for a SavedModel, or a file
            that ends in `.tflite`, `.onnx` or `.keras`.
        format: `"tf_saved_model"`, `"litert"`, `"onnx"` or `"keras"`. Defaults
            to `"tf_saved_model"`.
        compact: bool, whether dead units are removed, see `kreg.compact`.
            Defaults to `False`.
        sample: inputs of the model, on which outputs are compared. Subclassed
            models require it. Defaults to `None`: two random examples. Floats
            are normally distributed; integers are valid for every Embedding,
            or 0 and 1 without one.
        batch_size: int >= 1, the fixed batch size of the artefact, which LiteRT
            needs for recurrent layers. Defaults to `None`: any size, but 1 for
            LiteRT on torch.
        tolerance: float > 0, the largest accepted difference, as a fraction of
            the largest absolute value in the output. Defaults to `None`: 1e-4;
            1e-2 if a layer computes in float16, 5e-2 if one computes in
            bfloat16.
        overwrite: bool, whether to replace an artefact at `path`. Defaults to
            `False`.
        **options: further arguments of `model.export`, or of `model.save` for
            `"keras"`, such as `opset_version` for ONNX.

    Returns:
        A frozen `ExportRecord`.

    Raises:
        TypeError: if `model` is not a `keras.Model`, or `batch_size` or
            `tolerance` is not a number.
        ValueError: if the model is not built or cannot be compacted or
            converted, with the cause; if there is no such format on this
            backend; if `sample` does not fit; if the artefact does not run or
            its outputs differ by more than the tolerance.
        FileExistsError: if something is at `path`.
        FileNotFoundError: if the folder of `path` does not exist.
        ImportError: if a package that the format needs is not installed.

    Example:

    >>> import keras, kreg, pathlib, tempfile
    >>> model = keras.Sequential([keras.Input((4,)),
    ...     keras.layers.Dense(2, kernel_regularizer=kreg.L1(1e-4))])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.keras")
    ...     record = kreg.export(model, path, "keras")
    ...     loaded = keras.saving.load_model(path)
    >>> record.format, record.largest_difference
    ('keras', 0.0)
    >>> loaded.layers[0].kernel_regularizer is None
    True
    """
    start = time.perf_counter()
    built_model(model)
    path = checked_path("path", path)
    require_format(format, path)
    compact = boolean("compact", compact)
    overwrite = boolean("overwrite", overwrite)
    refuse_path(path, overwrite)
    batch_size = optional(positive_integer, "batch_size", batch_size)
    if tolerance is None:
        tolerance = _tolerance(model)
    tolerance = positive_number("tolerance", tolerance)
    sample = _sample(model, sample, batch_size)
    if format == "litert" and keras.backend.backend() == "torch":
        batch_size = batch_size or 1  # Keras fixes the batch size there
        sample = examples(sample, batch_size)
    expected = _expected(model, sample)
    with staged(path, overwrite) as written:
        with shippable(model, format, compact) as shipped:
            if shipped is not model:
                model_outputs(shipped, sample)  # Keras exports only called ones
            write(shipped, written, format, sample, batch_size, options)
            names = _input_names(shipped)
        try:
            actual = artefact_outputs(written, format, sample, names)
        except Exception as error:
            raise ValueError(
                f"`model` was written as {format!r} but does not run: "
                f"{cause_or_remedy(error)}"
            ) from error
        difference = largest_difference(expected, actual)
        if difference > tolerance:
            raise ValueError(
                f"`model` was written as {format!r} but its outputs differ by "
                f"{difference:.3g} of the largest, more than the tolerance "
                f"{tolerance:.3g}; nothing is kept. If rounding explains the "
                "difference, pass a larger `tolerance`. Received: "
                f"outputs of shapes {[a.shape for a in actual]} where the "
                f"model gives {[a.shape for a in expected]}"
            )
        size = bytes_at(written)
    seconds = time.perf_counter() - start
    return ExportRecord(path, format, size, difference, seconds)


def _sample(
    model: keras.Model, sample: Structure | None, batch_size: int | None
) -> Structure:
    if sample is None:
        return random_sample(model, batch_size or 2)
    sample = checked_sample(model, sample)
    count = len(flat(sample)[0])
    if batch_size is not None and count != batch_size:
        raise ValueError(
            "`sample` must hold `batch_size` examples, if you pass both. "
            f"Received: a sample of {count}, batch_size={batch_size}"
        )
    return sample


def _expected(model: keras.Model, sample: Structure) -> list[Any]:
    try:
        return model_outputs(model, sample)
    except Exception as error:
        raise ValueError(
            "`sample` must be inputs that the model can be called on; pass it "
            "if random ones do not fit. The model says: "
            f"{cause_or_remedy(error)}"
        ) from error


def _tolerance(model: keras.Model) -> float:
    computed = {layer.compute_dtype for layer in flatten_layers(model)}
    return max(_TOLERANCES.get(dtype, 1e-4) for dtype in computed)


def _input_names(model: keras.Model) -> list[str]:
    tensors = input_tensors(model)
    if tensors is None:
        return []
    return [tensor.name for tensor in keras.tree.flatten(tensors)]
