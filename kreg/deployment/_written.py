"""Writing a model in a format, by Keras's own means."""

import re
import warnings
from pathlib import Path
from typing import Any

import keras

from kreg.deployment._sample import Structure, input_tensors

_PLACES = ("in user code:", "Exception encountered when calling")


def write(
    model: keras.Model,
    path: Path,
    kind: str,
    sample: Structure,
    batch_size: int | None,
    options: dict[str, Any],
) -> None:
    """Write a model that holds nothing of kreg.

    Args:
        model: the model.
        path: where to write; nothing is there.
        kind: a name in `FORMATS`.
        sample: inputs of the model, as arrays.
        batch_size: the one batch size that the artefact takes, or None for
            any.
        options: what `model.export` takes beside.

    Raises:
        ValueError: if Keras or its converter cannot; tells the cause in a line.
    """
    try:
        if kind == "keras":
            model.save(path, **options)
            return
        if batch_size is not None or input_tensors(model) is None:
            options = {
                "input_signature": _signature(model, sample, batch_size),
                **options,
            }
        with warnings.catch_warnings():
            # Of converters, of themselves; what they write is run anyway.
            warnings.filterwarnings("ignore", module=r"(keras\.src|torch|onnx)")
            model.export(path, format=kind, verbose=False, **options)
    except Exception as error:
        raise ValueError(
            f"`model` cannot be written as {kind!r}: {cause_of(error)}"
        ) from error


def cause_of(error: BaseException) -> str:
    """What an error says, in one line, with what helps where that is known."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))  # without colours
    lacking = sorted(set(re.findall(r"\bFlex[A-Z]\w*", text)))
    if lacking:
        return (
            "it has operations of TensorFlow that LiteRT lacks "
            f"({', '.join(lacking)}). A recurrent layer needs a fixed batch, "
            "as in `batch_size=1`, or `unroll=True`; a layer that computes in "
            "half or double precision needs float32; for others choose "
            "another format"
        )
    lacking = sorted(set(re.findall(r"No Op registered for (\w+)", text)))
    if lacking:
        return (
            f"it has operations that ONNX lacks ({', '.join(lacking)}); "
            "replace their layer or activation, or choose another format"
        )
    # Keras first shows a whole config, or the arguments of a layer.
    text = text.rpartition("Exception encountered:")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Keras and TensorFlow put where it happened before what happened.
    lines = [line for line in lines if not line.startswith(_PLACES)] or [""]
    return f"{type(error).__name__}: {_shortened(lines[0])}"


def _shortened(text: str) -> str:
    """The start and the end of a text, which says what happened last."""
    return text if len(text) <= 300 else f"{text[:140]} [...] {text[-150:]}"


def _signature(
    model: keras.Model, sample: Structure, batch_size: int | None
) -> list[Any]:
    tensors = input_tensors(model)

    def of_tensor(tensor: keras.KerasTensor) -> keras.InputSpec:
        return keras.InputSpec(
            dtype=tensor.dtype,
            shape=(batch_size, *tensor.shape[1:]),
            name=tensor.name,
        )

    def of_array(array: Any) -> keras.InputSpec:
        return keras.InputSpec(
            dtype=array.dtype.name, shape=(batch_size, *array.shape[1:])
        )

    if tensors is None:
        return [keras.tree.map_structure(of_array, sample)]
    return [keras.tree.map_structure(of_tensor, tensors)]
