"""What models and artefacts compute, and how far two of them are apart."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.deployment._sample import Structure, flat

Arrays: TypeAlias = list[NDArray[Any]]
"""Outputs, flat, in the order of `keras.tree.flatten`."""


def model_outputs(model: keras.Model, sample: Structure) -> Arrays:
    """The outputs of a model in inference."""
    outputs = keras.tree.flatten(model(sample, training=False))
    return [keras.ops.convert_to_numpy(output) for output in outputs]


def largest_difference(
    expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]
) -> float:
    """The largest difference of two entries, relative to the output's size.

    For each output, `max |found - expected| / max |expected|`, and without the
    division where the output is all zero; the largest over all outputs. It is
    infinite if shapes differ or only one of two entries is not finite.
    """
    if [e.shape for e in expected] != [f.shape for f in found]:
        return float("inf")
    return max(map(_difference, expected, found), default=0.0)


def _difference(expected: NDArray[Any], found: NDArray[Any]) -> float:
    one, other = expected.astype("float64"), found.astype("float64")
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return float("inf")
    one, other = one[finite], other[finite]
    if not np.all(np.isfinite(other)):
        return float("inf")
    largest = float(np.max(np.abs(other - one), initial=0.0))
    return largest / (float(np.max(np.abs(one), initial=0.0)) or 1.0)


def outputs_of(
    path: Path, kind: str, sample: Structure, names: list[str]
) -> Arrays:
    """The outputs of an artefact, flat, in the order of Keras.

    Args:
        path: where it is.
        kind: a name in `FORMATS`.
        sample: inputs, in the structure that the model takes.
        names: the names of the model's inputs, flat; none if not known.
    """
    return _RUNNERS[kind](path, sample, names)


def _saved_model(path: Path, sample: Structure, names: list[str]) -> Arrays:
    import tensorflow as tf

    tensors = keras.tree.map_structure(tf.convert_to_tensor, sample)
    loaded = tf.saved_model.load(str(path))  # owns the variables of `serve`
    return [np.asarray(output) for output in flat(loaded.serve(tensors))]


def _litert(path: Path, sample: Structure, names: list[str]) -> Arrays:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_path=str(path)).get_signature_runner()
    inputs = _by_name(
        sorted(run.get_input_details(), key=_order), sample, names
    )
    outputs = run(**inputs)
    return [np.asarray(outputs[name]) for name in sorted(outputs, key=_order)]


def _onnx(path: Path, sample: Structure, names: list[str]) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    inputs = _by_name((i.name for i in session.get_inputs()), sample, names)
    return [np.asarray(output) for output in session.run(None, inputs)]


def _keras(path: Path, sample: Structure, names: list[str]) -> Arrays:
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    return model_outputs(model, sample)


_RUNNERS: Mapping[str, Callable[[Path, Structure, list[str]], Arrays]] = {
    "tf_saved_model": _saved_model,
    "litert": _litert,
    "onnx": _onnx,
    "keras": _keras,
}


def _by_name(
    taken: Iterable[str], sample: Structure, names: list[str]
) -> dict[str, NDArray[Any]]:
    """Each input under the name by which the artefact takes it.

    TensorFlow puts `_` for what it does not allow in names. Where an artefact
    has names of its own, they are in the order of the model's inputs.
    """
    taken = list(taken)
    arrays = flat(sample)
    by_name = dict(zip(map(_plain, names), arrays, strict=bool(names)))
    if set(by_name) == set(map(_plain, taken)):
        return {name: by_name[_plain(name)] for name in taken}
    return dict(zip(taken, arrays, strict=True))


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


def _order(name: str) -> tuple[str, int]:
    """Sorts `output_2` before `output_10`."""
    match = re.fullmatch(r"(.*?)(?:_(\d+))?", name)
    stem, number = match.groups() if match else (name, None)
    return stem, -1 if number is None else int(number)
