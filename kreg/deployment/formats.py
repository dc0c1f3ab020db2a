"""Formats of artefacts: what each needs, and writing a model in one."""

import importlib.util
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kreg.deployment._sample import Structure, input_tensors


@dataclass(frozen=True)
class Format:
    """A kind of artefact.

    Args:
        suffix: how its path must end.
        writers: for each backend on which Keras can write it, the modules that
            this takes beside Keras and the backend.
        runner: the module of its runtime; None if Keras runs it.
    """

    suffix: str
    writers: Mapping[str, tuple[str, ...]]
    runner: str | None = None


FORMATS = {
    "tf_saved_model": Format(
        "", {"tensorflow": (), "jax": ("tensorflow",)}, "tensorflow"
    ),
    "litert": Format(
        ".tflite",
        {"tensorflow": (), "torch": ("litert_torch",)},
        "ai_edge_litert",
    ),
    "onnx": Format(
        ".onnx",
        {
            "tensorflow": ("tf2onnx",),
            "jax": ("jax2onnx",),
            "torch": ("onnxscript",),
        },
        "onnxruntime",
    ),
    "keras": Format(".keras", {"tensorflow": (), "jax": (), "torch": ()}),
}
# What kreg's extra `export` holds.
_EXTRA = {"ai_edge_litert", "onnxruntime", "tf2onnx"}


def require_format(name: str, path: Path) -> None:
    """Raise if this format cannot be written to `path` and run here.

    Raises:
        ValueError: if there is no such format, it is not for this backend, or
            the path ends otherwise.
        ImportError: if a package is not installed; tells how to install it.
    """
    if name not in FORMATS:
        raise ValueError(
            f"`format` must be one of {list(FORMATS)}. "
            f"Received: format={name!r}"
        )
    known, backend = FORMATS[name], keras.backend.backend()
    if backend not in known.writers:
        possible = [n for n, f in FORMATS.items() if backend in f.writers]
        raise ValueError(
            f"`format` must be one of {possible} on the {backend} backend, "
            f"where Keras writes no other. Received: format={name!r}"
        )
    if known.suffix and path.suffix != known.suffix:
        raise ValueError(
            f"`path` must end in {known.suffix!r} for format={name!r}. "
            f"Received: path={str(path)!r}"
        )
    needed = dict.fromkeys((*known.writers[backend], known.runner))
    missing = [m for m in needed if m and not _installed(m)]
    if missing:
        raise ImportError(
            f"format={name!r} needs {' and '.join(missing)} on the {backend} "
            f"backend: run `{_command(missing)}`"
        )


def can_write(name: str) -> bool:
    """Whether this format can be written here, be it run here or not."""
    modules = FORMATS[name].writers.get(keras.backend.backend())
    return modules is not None and all(map(_installed, modules))


def _command(missing: list[str]) -> str:
    packages = [
        "'kreg[export]'" if m in _EXTRA else m.replace("_", "-")
        for m in missing
    ]
    return f"pip install {' '.join(dict.fromkeys(packages))}"


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


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
