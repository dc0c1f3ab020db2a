"""Outputs of models and artefacts, and the largest difference of two."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from kreg._keras_private import flatten_layers, own_trainable_variables
from kreg.deployment._sample import Structure, flat
from kreg.surgery.layouts import layouts_that_fit
from kreg.tensorflow_messages import without_messages

Arrays: TypeAlias = list[NDArray[Any]]
"""Outputs, flat, in the order of `keras.tree.flatten`."""


def model_outputs(model: keras.Model, sample: Structure) -> Arrays:
    """The outputs of a model in inference, whose state does not change."""
    with unchanged_state(model):
        outputs = keras.tree.flatten(model(sample, training=False))
        return [keras.ops.convert_to_numpy(output) for output in outputs]


@contextmanager
def unchanged_state(model: keras.Model) -> Iterator[None]:
    """Put back what calls of a model change, after the block.

    That is the state of random layers and of recurrent ones with a memory, and
    on torch whether modules are in training.
    """
    layers = flatten_layers(model)
    weights = {id(v) for part in layers for v in own_trainable_variables(part)}
    variables = [
        *(v for v in model.non_trainable_variables if id(v) not in weights),
        *(v for part in layers for v in _memory(part)),
    ]
    state = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in variables]
    is_torch = keras.backend.backend() == "torch"
    modes = [(m, m.training) for m in model.modules()] if is_torch else []
    try:
        yield
    finally:
        for variable, value in state:
            variable.assign(value)
        for module, is_training in modes:
            module.training = is_training


def _memory(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The states that a recurrent layer hands on from batch to batch."""
    is_stateful = isinstance(layer, keras.layers.RNN) and layer.stateful
    return list(keras.tree.flatten(layer.states)) if is_stateful else []


def largest_difference(
    expected: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]]
) -> float:
    """The largest difference of two outputs, relative to their size.

    For each output it is `max |actual - expected| / max |expected|`, without
    the division if the expected output is all zero. The largest over all
    outputs is returned. It is infinite if shapes differ, or if an entry is not
    finite in only one of the two.
    """
    if [e.shape for e in expected] != [a.shape for a in actual]:
        return float("inf")
    return max(map(_difference, expected, actual), default=0.0)


def _difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    a, b = expected.astype("float64"), actual.astype("float64")
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    a, b = a[finite], b[finite]
    if not np.all(np.isfinite(b)):
        return float("inf")
    largest = float(np.max(np.abs(b - a), initial=0.0))
    return largest / (float(np.max(np.abs(a), initial=0.0)) or 1.0)


def artefact_outputs(
    path: Path, kind: str, sample: Structure, names: list[str]
) -> Arrays:
    """The outputs of an artefact in its own runtime, in the order of Keras.

    Args:
        path: the artefact.
        kind: a name in `FORMATS`.
        sample: inputs, in the structure that the model takes.
        names: the names of the model's inputs, flat; empty if not known.
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

    TensorFlow replaces characters that it does not allow by `_`. If an artefact
    has other names, they are in the order of the model's inputs.
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
