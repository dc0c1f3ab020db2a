"""Expanding a custom layer into layers and operations of Keras."""

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
    """Replaces a custom layer by the calls in its code.

    A weight that the code uses itself becomes the weight of an `Embedding` with
    one row. The code then looks up this row, whatever its inputs are. So the
    weight is trained as before.

    Args:
        layer: the custom layer.
        name: a prefix for the names of these embeddings; empty for none.
        values: what changes in the weights of the model.
        unused: returns a name that no layer has yet, like a given one.
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
        # Embeddings inside the layer whose weights its code uses, too, as a
        # tied language model does; by the `id` of the weight.
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
        """Replace calls of the layer in a block by the calls in its code.

        Args:
            inputs: the arguments of the call.
            replacement: returns what is called in the place of a layer inside
                it; None to call that layer.
        """
        self._runs += 1
        self._tensors = {}
        tensors = filter(keras.utils.is_keras_tensor, tree.flatten(inputs))
        symbolic = partial(self._symbolic, next(tensors), replacement)
        with expanded(
            self._layer, replacement, symbolic, self._changed, self._read
        ):
            yield

    def set_values(self) -> None:
        """Set the values of the weights that the code uses itself."""
        for variable in own_variables(self._layer):
            if id(variable) in self._holders:
                value = self._values.value(variable).reshape(1, -1)
                self._holders[id(variable)].embeddings.assign(value)

    def _symbolic(
        self, source: Any, replacement: Replacement, value: Any
    ) -> Any:
        """A symbolic tensor with the values of a weight or of an array.

        It is computed from `source`, because a graph begins at its inputs.
        """
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
        """All rows of an embedding inside the layer, in their order."""
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
        """An embedding with one row, which holds the entries of a variable."""
        stored, computed = stored_dtype(variable), variable.dtype
        regularizer, constraint = own_regularizer(variable), variable.constraint
        # All others depend on the shape of a weight, which is another here.
        if not isinstance(
            regularizer,
            regularizers.L1 | regularizers.L2 | regularizers.L1L2 | None,
        ) or not isinstance(constraint, constraints.NonNeg | None):
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
        """An operation with the sizes that it needs in the smaller model."""
        traced = self._values.operation_at(self._layer, (self._runs - 1, place))
        if traced is None:
            return operation
        before, reduction = traced
        if type(before) is not type(operation):
            raise ValueError("what it computes depends on its sizes")
        return _with_sizes(operation, before, reduction)


def _zero_of(tensor: Any) -> Any:
    """The integer 0, computed from a symbolic tensor."""
    first = (slice(1), *[slice(None)] * (len(tensor.shape) - 1))
    return ops.sum(ops.zeros_like(tensor[first], dtype="int32"))


def _with_sizes(operation: Any, before: Any, reduction: Reduction) -> Any:
    """A copy of an operation, with the sizes that a reduction changes.

    Args:
        operation: an operation with sizes among its arguments, such as a
            reshape.
        before: the same operation in the traced model, where all sizes are
            known. The reduction changes its sizes.
        reduction: the sizes to change.
    """
    changed = {
        name: tuple(
            # Sizes that are open in the model are known in the trace. Others
            # may be computed wrongly from those of smaller tensors.
            new if isinstance(now, int) and (now == old or now >= 0) else now
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
