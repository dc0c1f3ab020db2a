"""A layer of one's own, written as layers and operations of Keras."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import keras
from keras import constraints, layers, ops, regularizers, tree

from kreg._keras_private import (
    expanded,
    flatten_layers,
    own_variables,
    stored_dtype,
)
from kreg.binding.binding import own_regularizer
from kreg.layers.channels.call import Reduction
from kreg.surgery._compact.new_values import NewValues

Replacement = Callable[[keras.layers.Layer], Callable[..., Any] | None]


class Expansion:
    """The calls inside of a layer, and what holds the weights of its own.

    A weight that the layer uses itself is then that of an `Embedding` with one
    row. It is trained like the weight, and its only row is read whatever the
    inputs are.

    Args:
        layer: the layer.
        name: the name of the layer, which its weights get as a prefix; empty
            for none.
        values: what changes in the weights of the model.
        unused: returns a name that no layer has, from one that may be taken.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        name: str,
        values: NewValues,
        unused: Callable[[str], str],
    ) -> None:
        self._layer, self._name = layer, name
        self._values, self._unused = values, unused
        # Tied to what the layer computes: their weights, by `id`.
        self._read = {
            id(part.embeddings): part
            for part in flatten_layers(layer)[1:]
            if type(part) is layers.Embedding
            and not part.lora_enabled
            and values.is_read(part.embeddings)
        }
        self._holders: dict[int, layers.Embedding] = {}
        self._tensors: dict[int, Any] = {}
        self._runs = 0

    @contextmanager
    def entered(
        self, inputs: Sequence[Any], replacement: Replacement
    ) -> Iterator[None]:
        """Let the calls inside of the layer take its place.

        Args:
            inputs: the arguments that the layer is called on.
            replacement: returns what is called in the place of a layer inside
                it; None for the layer itself.
        """
        self._runs += 1
        self._tensors = {}
        flat = filter(keras.utils.is_keras_tensor, tree.flatten(inputs))
        symbolic = partial(self._symbolic, next(flat), replacement)
        with expanded(
            self._layer, replacement, symbolic, self._changed, self._read
        ):
            yield

    def set_values(self) -> None:
        """Set the weights of what holds them."""
        for variable in own_variables(self._layer):
            if id(variable) in self._holders:
                value = self._values.value(variable).reshape(1, -1)
                self._holders[id(variable)].embeddings.assign(value)

    def _symbolic(
        self, source: Any, replacement: Replacement, value: Any
    ) -> Any:
        """A weight or a constant, as if it were computed from a tensor."""
        if isinstance(value, keras.Variable):
            embedding = self._read.get(id(value))
            if id(value) not in self._tensors:
                self._tensors[id(value)] = (
                    self._weight(source, value)
                    if embedding is None
                    else self._rows(source, embedding, replacement)
                )
            return self._tensors[id(value)]
        return ops.add(value, ops.cast(_zero_of(source), value.dtype))

    def _rows(
        self,
        source: Any,
        embedding: layers.Embedding,
        replacement: Replacement,
    ) -> Any:
        """All rows of an embedding inside the layer, looked up in order."""
        count, _ = self._values.shape(embedding.embeddings)
        ids = ops.add(ops.arange(count, dtype="int32"), _zero_of(source))
        look_up = replacement(embedding) or embedding
        return look_up(ids)

    def _weight(self, source: Any, variable: keras.Variable) -> Any:
        if id(variable) not in self._holders:
            self._holders[id(variable)] = self._holder(variable)
        row = self._holders[id(variable)](_zero_of(source))
        return ops.reshape(row, self._values.shape(variable))

    def _holder(self, variable: keras.Variable) -> layers.Embedding:
        stored, computed = stored_dtype(variable), variable.dtype
        regularizer, constraint = own_regularizer(variable), variable.constraint
        # The others depend on the shape, which is another here.
        by_entry = (
            regularizers.L1 | regularizers.L2 | regularizers.L1L2 | None,
            constraints.NonNeg | None,
        )
        if not isinstance(regularizer, by_entry[0]) or not isinstance(
            constraint, by_entry[1]
        ):
            raise ValueError(
                f"the penalty or constraint of `{variable.path}` depends on "
                "its shape"
            )
        return layers.Embedding(
            1,
            prod(self._values.shape(variable)),
            embeddings_initializer="zeros",
            embeddings_regularizer=regularizer,
            embeddings_constraint=constraint,
            dtype=stored if stored == computed else f"mixed_{computed}",
            trainable=variable.trainable,
            name=self._unused(f"{self._name}_{variable.name}".lstrip("_")),
        )

    def _changed(self, operation: Any, place: int) -> Any:
        """An operation, told the sizes that it has in the smaller model."""
        traced = self._values.operation_at(self._layer, (self._runs - 1, place))
        if traced is None:
            return operation
        before, reduction = traced
        if type(before) is not type(operation):
            raise ValueError("what it computes depends on its sizes")
        return with_sizes(operation, before, reduction)


def _zero_of(tensor: Any) -> Any:
    """The integer 0, computed from a symbolic tensor."""
    first = (slice(1), *[slice(None)] * (len(tensor.shape) - 1))
    return ops.sum(ops.zeros_like(tensor[first], dtype="int32"))


def with_sizes(operation: Any, before: Any, reduction: Reduction) -> Any:
    """A new operation like one, with the sizes that a reduction changes.

    Args:
        operation: an operation that is told sizes, such as a reshape.
        before: the same with all sizes known, on which the reduction is based.
        reduction: the sizes to change.
    """
    changed = {
        name: tuple(
            # It is open, or the code has asked a smaller tensor for it.
            new if isinstance(now, int) and now == old else now
            for now, old, new in zip(
                getattr(operation, name),
                getattr(before, name),
                sizes,
                strict=True,
            )
        )
        for name, sizes in reduction.config.items()
    }
    return type(operation)(**changed)
