"""Runs an exported artefact in its own runtime and returns its outputs."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.surgery.layouts import layouts_that_fit
from kreg.surgery.outputs import model_outputs
from kreg.surgery.sample import Structure, flat
from kreg.tensorflow_messages import without_messages

Arrays: TypeAlias = list[NDArray[Any]]
"""Flat outputs, in the order of `keras.tree.flatten`."""


def artefact_outputs(
    path: Path, kind: str, sample: Structure, names: list[str]
) -> Arrays:
    """The outputs of an artefact in its own runtime, in the order of Keras.

    Args:
        path: the artefact.
        kind: a name in `FORMATS`.
        sample: inputs, in the structure that the model takes.
        names: the flat names of the model's inputs; empty if unknown.
    """
    return _RUNNERS[kind](path, sample, names)


def _saved_model(path: Path, sample: Structure, names: list[str]) -> Arrays:
    import tensorflow as tf

    tensors = keras.tree.map_structure(tf.convert_to_tensor, sample)
    loaded = tf.saved_model.load(str(path))  # owns the variables of `serve`
    return [np.asarray(output) for output in flat(loaded.serve(tensors))]


def _litert(path: Path, sample: Structure, names: list[str]) -> Arrays:
    from ai_edge_litert.interpreter import Interpreter

    with without_messages():
        run = Interpreter(model_path=str(path)).get_signature_runner()
        inputs = _by_name(
            sorted(run.get_input_details(), key=_natural_order), sample, names
        )
        outputs = run(**inputs)
    return [
        np.asarray(outputs[name])
        for name in sorted(outputs, key=_natural_order)
    ]


def _onnx(path: Path, sample: Structure, names: list[str]) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    inputs = _by_name((i.name for i in session.get_inputs()), sample, names)
    return [np.asarray(output) for output in session.run(None, inputs)]


def _keras(path: Path, sample: Structure, names: list[str]) -> Arrays:
    with layouts_that_fit():
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    return model_outputs(model, sample)


_RUNNERS: Mapping[str, Callable[[Path, Structure, list[str]], Arrays]] = {
    "tf_saved_model": _saved_model,
    "litert": _litert,
    "onnx": _onnx,
    "keras": _keras,
}


def _by_name(
    artefact_names: Iterable[str], sample: Structure, names: list[str]
) -> dict[str, NDArray[Any]]:
    """The arrays of a sample by the names of the artefact's inputs.

    TensorFlow replaces characters that it does not allow by `_`. If the names
    of an artefact differ from the model's, its inputs are matched by order.
    """
    artefact_names = list(artefact_names)
    arrays = flat(sample)
    by_name = dict(
        zip(map(_tensorflow_name, names), arrays, strict=bool(names))
    )
    if set(by_name) == set(map(_tensorflow_name, artefact_names)):
        return {
            name: by_name[_tensorflow_name(name)] for name in artefact_names
        }
    return dict(zip(artefact_names, arrays, strict=True))


def _tensorflow_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


def _natural_order(name: str) -> tuple[str, int]:
    """Sorts `output_2` before `output_10`."""
    match = re.fullmatch(r"(.*?)(?:_(\d+))?", name)
    stem, number = match.groups() if match else (name, None)
    return stem, -1 if number is None else int(number)
