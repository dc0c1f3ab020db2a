"""Record of attached regularizers that a layer's config cannot save.

Keras saves regularizers in the configs of layers, but many layers have no
argument for one. `kreg.attach` can put a regularizer on their weights, too. A
record in the model's `.keras` file then holds it. If kreg is imported, Keras's
`load_model` restores the regularizers; otherwise it ignores the record.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kreg._keras_private import (
    ModelRecord,
    flatten_layers,
    keep_with_models,
    own_trainable_variables,
)
from kreg.binding.binding import own_regularizer
from kreg.binding.ties import Tie, tie_part, ties_of
from kreg.foreign_objects import result_or_none
from kreg.layers.weights import attribute_of
from kreg.regularizers.strength_regularizer import StrengthRegularizer
from kreg.regularizers.tied_groups import Slices

RESTORE = (
    "Attach them again; if Keras does not know a class or a function, load the "
    "file in a `keras.saving.custom_object_scope` that names it"
)
"""Advice for regularizers that could not be restored."""

_VERSION = 1
_ORIGIN = "_kreg_regularizer_of_layer"


def note_attached(variable: keras.Variable, origin: Any) -> None:
    """Include the regularizer of a weight in the record from now on.

    Args:
        variable: a weight.
        origin: the regularizer that the weight gets when its layer is rebuilt
            from its config, or None.
    """
    vars(variable).setdefault(_ORIGIN, origin)


def forget_attached(
    variable: keras.Variable, undo: ExitStack | None = None
) -> None:
    """Undo `note_attached`.

    Args:
        variable: a weight, in the record or not.
        undo: a stack; closing it restores the entry. Defaults to `None`.
    """
    if _ORIGIN in vars(variable):
        origin = vars(variable).pop(_ORIGIN)
        if undo is not None:
            undo.callback(note_attached, variable, origin)


def is_recorded(variable: keras.Variable) -> bool:
    """Whether the regularizer of a weight is in the record."""
    return _is_attached(variable) and is_serializable(own_regularizer(variable))


def is_serializable(regularizer: Any) -> bool:
    """Whether Keras can save a regularizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # saving warns about lambdas later
        return result_or_none(lambda: _serialized(regularizer)) is not None


def _is_attached(variable: keras.Variable) -> bool:
    state = vars(variable)
    return _ORIGIN in state and own_regularizer(variable) is not state[_ORIGIN]


def _serialized(regularizer: Any) -> str:
    return json.dumps(keras.saving.serialize_keras_object(regularizer))


@dataclass(frozen=True)
class Unrestored:
    """A regularizer in the record of a file that could not be restored.

    Args:
        path: the path of its weight.
        reason: why it could not be restored, as a clause.
    """

    path: str
    reason: str


class AttachedRecord(ModelRecord):
    """The record of a model.

    It is a JSON object with one entry for each regularizer: the regularizer as
    Keras serializes it, the memory of the callback that steers it, and the
    places of its weights. The weights under `shared` are those whose layers
    save the regularizer; `ties` holds groups that span several weights. Null
    stands for a regularizer that was removed.

    Args:
        model: the model.
    """

    file = "attached.json"

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        self.unrestored: tuple[Unrestored, ...] = ()

    def is_needed(self, model: keras.Model) -> bool:
        return any(map(_is_attached, model.weights))

    def text(self, model: keras.Model) -> str:
        places = _Places(model)
        regularizers: dict[int, Any] = {}
        for variable in places.variables():
            if is_recorded(variable):
                regularizer = own_regularizer(variable)
                regularizers[id(regularizer)] = regularizer
        entries = [
            {
                "regularizer": json.loads(_serialized(regularizer)),
                "memory": _memory(regularizer),
                "weights": places.of(regularizer, attached=True),
                "shared": []
                if regularizer is None
                else places.of(regularizer, attached=False),
                "ties": [
                    places.of_tie(tie)
                    for tie in ties_of(model)
                    if tie.penalty is regularizer
                ],
            }
            for regularizer in regularizers.values()
        ]
        record = {
            "version": _VERSION,
            "layers": places.structure,
            "attached": entries,
        }
        return json.dumps(record, indent=1)

    def restore(self, model: keras.Model, text: str) -> None:
        try:
            self.unrestored = tuple(_put_all_back(model, json.loads(text)))
        except Exception as error:  # the file may hold anything
            self.unrestored = (Unrestored("the whole model", str(error)),)
        if self.unrestored:
            paths: dict[str, list[str]] = {}
            for one in self.unrestored:
                paths.setdefault(one.reason, []).append(one.path)
            listed = "; ".join(
                f"{', '.join(some)}: {reason.rstrip('.')}"
                for reason, some in paths.items()
            )
            warnings.warn(
                "Regularizers from `kreg.attach` could not be put back on the "
                f"weights of `{model.name}`, where they do not act. "
                f"{listed}. {RESTORE}.",
                stacklevel=2,
            )


def _put_all_back(model: keras.Model, record: Any) -> Iterator[Unrestored]:
    """Restore the regularizers; yield those that cannot be restored."""
    if record["version"] != _VERSION:
        raise ValueError(
            f"the record is of version {record['version']}, of another kreg"
        )
    places = _Places(model)
    structure = record["layers"]
    for entry in record["attached"]:
        shared = [places.find(place, structure) for place in entry["shared"]]
        try:
            regularizer = _restored(entry, [v for _, v in filter(None, shared)])
        except Exception as error:  # deserializing runs any class's code
            # Keras appends the whole config to its message.
            reason = str(error).partition("Full object config")[0]
            for place in _all_places(entry):
                layer_and_weight = places.find(place, structure)
                path = (
                    place["path"]
                    if layer_and_weight is None
                    else layer_and_weight[1].path
                )
                yield Unrestored(path, " ".join(reason.split()))
            continue
        for place in entry["weights"]:
            layer_and_weight = places.find(place, structure)
            if layer_and_weight is None:
                yield Unrestored(
                    place["path"],
                    "the model has no such weight of shape "
                    f"{tuple(place['shape'])}",
                )
            else:
                _put_back(regularizer, *layer_and_weight)
        for tie in entry["ties"]:
            tied = [places.find(p, structure) for p in tie["weights"]]
            if None in tied:
                for place in tie["weights"]:
                    yield Unrestored(
                        place["path"],
                        "the model lacks a weight to which it is tied",
                    )
            else:
                _put_tie_back(regularizer, tie, tied)


def _all_places(entry: Mapping[str, Any]) -> list[Any]:
    """The places of the weights of an entry, tied or not."""
    return [
        *entry["weights"],
        *(place for tie in entry["ties"] for place in tie["weights"]),
    ]


def _memory(regularizer: Any) -> list[float]:
    if isinstance(regularizer, StrengthRegularizer):
        return list(regularizer.steering[1])
    return []


def _restored(
    entry: Mapping[str, Any], shared: Sequence[keras.Variable]
) -> Any:
    """The regularizer of an entry, reused where a weight has it already.

    Weights that share one object share its multiplier, so the object must not
    be duplicated.
    """
    serialized = entry["regularizer"]
    for variable in shared:
        present = own_regularizer(variable)
        if (
            present is not None
            and json.loads(_serialized(present)) == serialized
        ):
            return present
    regularizer = keras.saving.deserialize_keras_object(serialized)
    if regularizer is not None and not callable(regularizer):
        raise TypeError(f"it is a {type(regularizer).__name__}")
    if isinstance(regularizer, StrengthRegularizer):
        regularizer.steer(regularizer.multiplier, entry["memory"])
    return regularizer


def _put_back(
    regularizer: Any, layer: keras.layers.Layer, variable: keras.Variable
) -> None:
    """Set the regularizer of a weight as `kreg.attach` does."""
    note_attached(variable, own_regularizer(variable))
    variable.regularizer = regularizer
    attribute = attribute_of(layer, variable.name)
    if attribute is not None:
        setattr(layer, attribute, regularizer)


def _put_tie_back(
    penalty: Any, tie: Mapping[str, Any], tied: Sequence[Any]
) -> None:
    """Tie weights as `kreg.attach` does."""
    groups = [
        Slices(
            tuple(place["view"]),
            place["axis"],
            np.array(place["numbers"], np.int64),
        )
        for place in tie["weights"]
    ]
    weights = [variable for _, variable in tied]
    pairs = list(zip(weights, groups, strict=True))
    for part in Tie(tie["path"], penalty, pairs).parts:
        note_attached(part.variable, own_regularizer(part.variable))
        part.variable.regularizer = part


class _Places:
    """The places of a model's weights, valid across processes.

    Paths alone do not identify weights, because Keras numbers the default names
    of layers anew in each process. So a place also holds the position of the
    layer in the model and that of the weight in the layer. These positions are
    used if the loaded model has the same layers.
    """

    def __init__(self, model: keras.Model) -> None:
        self._layers = flatten_layers(model)
        self._own = [own_trainable_variables(layer) for layer in self._layers]
        self.structure = [
            [type(layer).__name__, [variable.name for variable in own]]
            for layer, own in zip(self._layers, self._own, strict=True)
        ]

    def variables(self) -> list[keras.Variable]:
        """The weights, each once."""
        weights = {id(v): v for own in self._own for v in own}
        return list(weights.values())

    def of(self, regularizer: Any, *, attached: bool) -> list[dict[str, Any]]:
        """The places of the untied weights that have a regularizer.

        Args:
            regularizer: the regularizer, or None.
            attached: True for the weights whose layers cannot save it, False
                for those whose layers do.
        """
        places: dict[int, dict[str, Any]] = {}
        for layer, own in enumerate(self._own):
            for position, variable in enumerate(own):
                if (
                    own_regularizer(variable) is regularizer
                    and tie_part(variable) is None
                    and _is_attached(variable) is attached
                ):
                    places.setdefault(
                        id(variable), self._place(layer, position)
                    )
        return list(places.values())

    def of_tie(self, tie: Tie) -> dict[str, Any]:
        """The name of a tie; the places and the groups of its weights.

        A tie may also have weights outside the model, which the record of the
        model around it tells.
        """
        indices = {
            id(variable): (layer, position)
            for layer, own in enumerate(self._own)
            for position, variable in enumerate(own)
        }
        weights = [
            {
                **self._place(*indices[id(part.variable)]),
                "view": list(part.slices.view),
                "axis": part.slices.axis,
                "numbers": part.slices.numbers.tolist(),
            }
            for part in tie.parts
            if id(part.variable) in indices
        ]
        return {"path": tie.path, "weights": weights}

    def _place(self, layer: int, position: int) -> dict[str, Any]:
        variable = self._own[layer][position]
        return {
            "path": variable.path,
            "layer": layer,
            "position": position,
            "shape": list(variable.shape),
        }

    def find(
        self, place: Mapping[str, Any], structure: Sequence[Any]
    ) -> tuple[keras.layers.Layer, keras.Variable] | None:
        """The weight at a place of a model with a given structure.

        Returns:
            The layer and the weight; None if the model has no such weight.
        """
        if [kind for kind, _ in structure] == [k for k, _ in self.structure]:
            layer = place["layer"]
            _, names = structure[layer]
            position = self._position(layer, place["position"], names)
            indices = [] if position is None else [(layer, position)]
        else:
            indices = self._indices_by_path(place["path"])
        for layer, position in indices:
            variable = self._own[layer][position]
            if list(variable.shape) == place["shape"]:
                return self._layers[layer], variable
        return None

    def _indices_by_path(self, path: str) -> list[tuple[int, int]]:
        """The positions of the weights whose path is `path` or ends with it.

        The paths in a loaded model may lack the name of the model. An ending
        that several weights share is not used.
        """
        names = path.split("/")[-2:]
        indices = {
            variable.path: (layer, position)
            for layer, own in enumerate(self._own)
            for position, variable in enumerate(own)
            if variable.path.split("/")[-2:] == names
        }
        if path in indices:
            return [indices[path]]
        return list(indices.values()) if len(indices) == 1 else []

    def _position(
        self, layer: int, position: int, recorded: Sequence[str]
    ) -> int | None:
        """The present position of a weight that was recorded at `position`."""
        _, names = self.structure[layer]
        if names == recorded or (
            # Keras also numbers weights that were given no name.
            len(names) == len(recorded) and set(names) != set(recorded)
        ):
            return position
        name = recorded[position]
        return names.index(name) if names.count(name) == 1 else None


record_of = keep_with_models(AttachedRecord)


def unrestored(model: keras.Model) -> list[Unrestored]:
    """The regularizers that could not be restored when a model was loaded.

    Weights that were given a regularizer since are left out.
    """
    attached = {v.path for v in model.weights if _ORIGIN in vars(v)}
    return [
        one for one in record_of(model).unrestored if one.path not in attached
    ]
