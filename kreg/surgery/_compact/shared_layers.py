"""Layers that are called more than once: their constants and tied inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kreg._keras_private import TracedCall
from kreg.layers.channels.call import Call, Traced, every_number, kept_whole
from kreg.layers.channels.network import Network, Operand, Parameter, Values
from kreg.surgery._compact.graphs import path_of_call

SharedConstants = Mapping[int, Sequence[Values]]
"""The constants of each input of a layer, by the `id` of the layer."""


class SharedLayers:
    """Layers that are called more than once, and so have the same weights.

    Args:
        network: the channels of the model.
        earlier_constants: the inputs that an earlier walk found equal and
            constant in all calls of a layer.

    Attributes:
        constants: the inputs that this walk found equal and constant so far.
    """

    def __init__(
        self, network: Network, earlier_constants: SharedConstants
    ) -> None:
        self._network, self._earlier = network, earlier_constants
        self.constants: dict[int, list[Values]] = {}
        self._composites: dict[tuple[Any, ...], Sequence[Operand]] = {}

    @property
    def found_more(self) -> bool:
        """Whether this walk found more constants than the earlier one."""
        return _count(self.constants) > _count(self._earlier)

    def note_constants(self, call: Call) -> None:
        """Note the constants that a call has in common with earlier calls."""
        new = [_constants(operand) for operand in call.operands]
        before = self.constants.setdefault(id(call.operation), new)
        if [a.shape for a in before] == [a.shape for a in new]:
            self.constants[id(call.operation)] = [
                np.where(a == b, a, np.nan)
                for a, b in zip(before, new, strict=True)
            ]

    def with_constants(self, call: Call) -> Call:
        """The first call, with constants only where all calls agree."""
        shapes = [_constants(operand).shape for operand in call.operands]
        common = self._earlier.get(id(call.operation), ())
        if [constants.shape for constants in common] != shapes:
            common = [np.full(shape, np.nan) for shape in shapes]
        return call.on(
            [
                operand
                if isinstance(operand, Parameter)
                else operand.with_constants(constants)
                for operand, constants in zip(
                    call.operands, common, strict=True
                )
            ]
        )

    def outputs_again(
        self, call: Call, first_inputs: Sequence[Operand], first: Traced
    ) -> Sequence[Operand]:
        """The outputs of a later call, whose inputs are tied to the first.

        If the channels of the two calls differ in form, all of them stay.

        Args:
            call: the later call.
            first_inputs: the channels of the inputs of the first call.
            first: what the first call does to channels.
        """
        tensors = call.node.output_tensors
        if (
            _are_alike(first_inputs, call.operands)
            and len(first.outputs) == len(tensors)
            and all(
                len(signal.axes) == 0 or signal.axis < len(tensor.shape)
                for signal, tensor in zip(first.outputs, tensors, strict=True)
            )
        ):
            self._tie(first_inputs, call.operands)
            return first.outputs
        kept_whole(call.on([*first_inputs, *first.outputs]), self._network)
        return kept_whole(call, self._network).outputs

    def tie_composite(
        self, call: TracedCall, operands: Sequence[Operand]
    ) -> None:
        """Tie the inputs of a layer that was looked into to its first call.

        Calls on integers are tied among themselves. They may take another way
        through the code than calls on floats, as in an embedding by which the
        outputs are multiplied, too.

        Args:
            call: the call of the layer.
            operands: the channels of its inputs.
        """
        if not call.operation.weights:
            return
        takes_rows = tuple("int" in str(t.dtype) for t in call.input_tensors)
        key = id(call.operation), takes_rows
        first = self._composites.setdefault(key, operands)
        if _are_alike(first, operands):
            self._tie(first, operands)
            return
        reason = f"`{path_of_call(call)}` is called on tensors that differ"
        for operand in (*first, *operands):
            for channels in every_number(operand):
                self._network.pin(channels, reason)

    def _tie(self, one: Sequence[Operand], other: Sequence[Operand]) -> None:
        for a, b in zip(one, other, strict=True):
            pairs = zip(every_number(a), every_number(b), strict=True)
            for first, second in pairs:
                self._network.tie(first, second)


def _are_alike(one: Sequence[Operand], other: Sequence[Operand]) -> bool:
    """Whether the channels of tensors have the same form."""
    return len(one) == len(other) and all(
        _form(a) == _form(b) for a, b in zip(one, other, strict=True)
    )


def _form(operand: Operand) -> list[Any]:
    if isinstance(operand, Parameter):
        return [(channels.shape, axes) for channels, axes in operand.parts]
    return [(operand.channels.shape, operand.axes)]


def _constants(operand: Operand) -> Values:
    return np.zeros(0) if isinstance(operand, Parameter) else operand.constants


def _count(constants: SharedConstants) -> int:
    return sum(
        int((~np.isnan(values)).sum())
        for inputs in constants.values()
        for values in inputs
    )
