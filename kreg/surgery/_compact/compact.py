"""`kreg.compact`: a smaller model with the same outputs, and its record."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

import keras
import numpy as np
from numpy.typing import NDArray

from kreg._arguments import boolean, built_model, positive_integer
from kreg._keras_private import flatten_layers, graph_of, is_composite
from kreg.layers.channels.network import Kept
from kreg.results.result import Result, ResultWithRows, SavedResult
from kreg.results.table import Column, Table
from kreg.surgery._compact.kept_channels import kept_channels
from kreg.surgery._compact.rebuild import Rebuild
from kreg.surgery._compact.walk import Walk, walk
from kreg.surgery.layouts import layouts_that_fit


@dataclass(frozen=True, repr=False)
class LayerCompaction(Result):
    """The size of one layer before and after.

    Args:
        path: the name of the layer, after those of the models around it.
        kind: its class.
        units_before: how many units (output channels) it had; 0 if its first
            output has no channels that are known.
        units_after: how many it has.
        parameters_before: how many weights it had.
        parameters_after: how many it has.
        kept: the numbers of constant units that had to stay, by reason. They
            are told for the layer that makes the units, not for those that
            they run through.
    """

    path: str
    kind: str
    units_before: int
    units_after: int
    parameters_before: int
    parameters_after: int
    kept: Mapping[str, int]

    def headline(self) -> dict[str, Any]:
        """The layer and its units."""
        return {
            "path": self.path,
            "units": _before_and_after(self.units_before, self.units_after),
            "constant_kept": sum(self.kept.values()),
        }


@dataclass(frozen=True, repr=False, eq=False)
class Compaction(ResultWithRows, SavedResult):
    """What `kreg.compact` did to a model. Print it for a table.

    Args:
        layers: every layer with weights, in the order of execution.
        kept_inputs: for each input, by its name, the indices of the features
            that the small model takes, in order.
        parameters_before: how many weights the model had.
        parameters_after: how many the small one has.
    """

    layers: tuple[LayerCompaction, ...]
    kept_inputs: Mapping[str, NDArray[np.int64]]
    parameters_before: int
    parameters_after: int

    def headline(self) -> dict[str, Any]:
        """The number of layers with weights, and of the weights."""
        return {
            "layers": len(self.layers),
            "parameters_before": self.parameters_before,
            "parameters_after": self.parameters_after,
        }

    def table(self) -> Table:
        """A row for each layer with weights."""
        change = _before_and_after(
            self.parameters_before, self.parameters_after
        )
        columns = (
            Column("layer", "name", total="total"),
            Column("units"),
            Column("parameters", total=change),
            Column("constant, and kept because", "text"),
        )
        rows = [
            (
                layer.path,
                _before_and_after(layer.units_before, layer.units_after),
                _before_and_after(
                    layer.parameters_before, layer.parameters_after
                ),
                "\n".join(
                    f"{count}: {reason}" for reason, count in layer.kept.items()
                ),
            )
            for layer in self.layers
        ]
        return Table(columns, rows)

    def records(self) -> list[dict[str, Any]]:
        """The fields of each layer."""
        return [layer.to_dict() for layer in self.layers]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Compaction):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Compaction":
        """The inverse of `to_dict`."""
        return cls(
            **{
                **values,
                "layers": tuple(
                    LayerCompaction(**layer) for layer in values["layers"]
                ),
                "kept_inputs": {
                    name: np.array(indices, np.int64)
                    for name, indices in values["kept_inputs"].items()
                },
            }
        )


def _before_and_after(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} -> {after:,}"


@overload
def compact(
    model: keras.Model,
    *,
    round_to: int = ...,
    drop_inputs: bool = ...,
    return_compaction: Literal[False] = ...,
) -> keras.Model: ...
@overload
def compact(
    model: keras.Model,
    *,
    round_to: int = ...,
    drop_inputs: bool = ...,
    return_compaction: Literal[True],
) -> tuple[keras.Model, Compaction]: ...
def compact(
    model: keras.Model,
    *,
    round_to: int = 1,
    drop_inputs: bool = False,
    return_compaction: bool = False,
) -> keras.Model | tuple[keras.Model, Compaction]:
    """Return a smaller model with the same outputs.

    Choose it after training with a penalty on groups (`kreg.GroupLasso`), or
    with any other that leaves units without incoming weights. Zeros alone make
    no model faster, but removed units do. The new model is an ordinary Keras
    model, not compiled, without any object of kreg. The given model does not
    change.

    These units (output channels) are removed:

    - Constant units, whose incoming weights are zero, or the `gamma` of whose
      BatchNormalization is. Their value, `activation(bias)`, is followed
      through normalization, activations, pooling, flattening and dropout. It
      is then added to the bias of the layer that reads them, which gets a bias
      if it has none.
    - Units that nothing reads, because all their outgoing weights are zero.
    - Units that only removed units read, repeatedly, also around residuals.

    Padding differs from a constant that is not zero, so a convolution with
    `padding="same"` keeps one of its constant channels, which stands for all
    of them. A constant unit stays where nothing can make up for it: before a
    depthwise convolution with padding, a sum with a unit that varies, layer
    normalization, softmax, attention and custom layers. Tensors that are added
    or multiplied lose a channel together or not at all. Recurrent units are
    removed only if their state stays at zero. Every layer keeps one unit.

    Under a `keras.distribution.ModelParallel` the smaller weights are split
    over the devices as before, but not along an axis whose new size the number
    of devices does not divide. `round_to` can make it divide.

    The outputs are the same in inference. In further training, moving means
    and dropout differ, because units are missing.

    Args:
        model: a built `Sequential` or functional `keras.Model`, with such
            models nested in it as deep as you like.
        round_to: int >= 1, the number of units in each layer stays a multiple
            of it, or stays as it is. Some hardware is faster then. Defaults to
            `1`.
        drop_inputs: bool, whether to remove features of the model's inputs
            (the last axis) that nothing reads, too. The small model takes
            `x[..., kept_inputs]`. Defaults to `False`.
        return_compaction: bool, whether to return the record, too. Defaults to
            `False`.

    Returns:
        The small model; with `return_compaction=True` a tuple of it and a
        `kreg.surgery.Compaction`, which tells how many units each layer lost,
        why constant units had to stay, and which input features are left.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if it is not built, is a subclass whose graph is not known,
            or has a layer that cannot be made anew from its config.

    Example:

    >>> import keras, kreg, numpy
    >>> hidden = keras.layers.Dense(3, activation="relu")
    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), hidden, keras.layers.Dense(1)])
    >>> kernel = numpy.array([[1.0, 0.0, 2.0], [3.0, 0.0, 4.0]])
    >>> hidden.set_weights([kernel, numpy.array([0.0, 5.0, 0.0])])
    >>> small = kreg.compact(model)  # the second unit is always 5
    >>> [tuple(w.shape) for w in small.weights]
    [(2, 2), (2,), (2, 1), (1,)]
    >>> x = numpy.random.default_rng(0).normal(size=(8, 2))
    >>> outputs = model.predict(x, verbose=0), small.predict(x, verbose=0)
    >>> numpy.testing.assert_allclose(*outputs, rtol=1e-5)
    """
    built_model(model)
    round_to = positive_integer("round_to", round_to)
    drop_inputs = boolean("drop_inputs", drop_inputs)
    boolean("return_compaction", return_compaction)
    if graph_of(model) is None:
        raise ValueError(
            "`model` must be a `Sequential` or a functional model, whose "
            "graph of layers is known: what a subclass computes in `call` "
            "cannot be seen. Build the part with the layers to be made "
            "smaller as a functional model. Received: model="
            f"{model!r} (of type {type(model).__name__})"
        )
    walked = walk(model, drop_inputs, opaque=_of_ones_own(model))
    kept = kept_channels(walked.network, round_to)
    rebuild = Rebuild(walked, kept)
    with layouts_that_fit():
        small = rebuild.of(model)
    if not return_compaction:
        return small
    return small, _compaction(model, small, walked, kept, rebuild)


def _of_ones_own(model: keras.Model) -> dict[int, str]:
    """The layers that can only be copied as they are."""
    return {
        id(layer): ""
        for layer in flatten_layers(model)
        if is_composite(layer) and graph_of(layer) is None
    }


def _compaction(
    model: keras.Model,
    small: keras.Model,
    walked: Walk,
    kept: Kept,
    rebuild: Rebuild,
) -> Compaction:
    layers = []
    counted = {
        *walked.composites
    }  # models, whose layers have rows of their own
    for path, layer in walked.paths.items():
        if id(layer) in counted or not layer.weights:
            continue
        counted.add(id(layer))
        signal = walked.layers[id(layer)].outputs[0]
        stays = kept(signal.channels)
        constant = signal.channels[~np.isnan(signal.constants) & stays]
        has_units = path in walked.network.units
        reasons = map(kept.reason, constant.tolist() if has_units else ())
        layers.append(
            LayerCompaction(
                path,
                type(layer).__name__,
                len(signal.channels),
                int(stays.sum()),
                layer.count_params(),
                rebuild.copy_of(layer).count_params(),
                dict(Counter(reasons)),
            )
        )
    return Compaction(
        tuple(layers),
        {
            tensor.name: np.flatnonzero(kept(signal.channels))
            for tensor, signal in zip(
                walked.graph.inputs, walked.inputs, strict=True
            )
        },
        model.count_params(),
        small.count_params(),
    )
