"""Sums of products: einsum, matmul, and layers that are written with them.

Each axis of a tensor has a letter, as in an einsum. Channels lie along some of
the letters; the other letters are positions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kreg.layers.channels.call import same_along, signal_without_channels
from kreg.layers.channels.network import (
    Channels,
    Kept,
    Network,
    Part,
    Signal,
    Values,
    WeightedSum,
)

# Larger products, in pairs of an input and a unit, are not followed.
_MOST_PAIRS = 2**28


class EinsumSums:
    """Units that are sums of channels, weighted by a kernel.

    Args:
        path: the name of the layer or the operation.
        network: the channels of the model, to which the units are added.
        signal: the channels of the input.
        kernel: the weights.
        letters: those of the axes of the input, the kernel and the output.
        bias: the bias, in a shape that broadcasts with the output; None if
            there is none.
        adds_bias: whether a bias can be added where there is none.

    Attributes:
        units: the channels of the output, before any activation.
        folds: whether the bias can make up for constant inputs.
    """

    def __init__(
        self,
        path: str,
        network: Network,
        signal: Signal,
        kernel: NDArray[Any],
        letters: Sequence[str],
        *,
        bias: NDArray[np.float64] | None = None,
        adds_bias: bool = False,
    ) -> None:
        self._signal, self._kernel, self._bias = signal, kernel, bias
        self._letters = x, k, o = letters
        self._inputs = inputs = [x[axis] for axis in signal.axes]
        new = [c for c in k if c not in x]
        sizes = dict(zip(k, kernel.shape, strict=True))
        sizes.update(zip(inputs, signal.channels.shape, strict=True))
        units = [c for c in o if c in inputs or c in new]
        self._unit_letters = units
        self.units = network.grid(
            tuple(sizes[c] for c in units), tuple(o.index(c) for c in units)
        )
        self._input_places = dict(
            zip(inputs, network.places(signal.channels), strict=True)
        )
        self._unit_places = dict(
            zip(units, network.places(self.units.channels), strict=True)
        )
        for c in inputs:
            if c in units:
                network.tie(self._input_places[c], self._unit_places[c])
        positions = tuple(
            i for i, c in enumerate(k) if c not in inputs and c not in new
        )
        rest = "".join(c for i, c in enumerate(k) if i not in positions)
        reads = _pairs(
            (kernel != 0).any(axis=positions), rest, inputs, units, sizes
        )
        self._sums = _pairs(
            kernel.sum(axis=positions, dtype=np.float64),
            rest,
            inputs,
            units,
            sizes,
        )
        # A sum over positions, or weights that differ by position, may give
        # another constant at each position. Then no bias makes up for them.
        is_even = all(c not in o for i, c in enumerate(k) if i in positions)
        is_even &= all(c in o or c in k or c in inputs for c in x)
        self.folds = is_even and (
            adds_bias if bias is None else self._covers_units(bias)
        )
        self.units = self.units.with_constants(
            self._unit_constants(reads != 0, is_even)
        )
        network.sums.append(
            WeightedSum(
                path,
                signal.channels.ravel(),
                self.units.channels.ravel(),
                reads != 0,
                signal.constants.ravel(),
                folds=self.folds,
                merges=False,
            )
        )

    @staticmethod
    def fits(signal: Signal, letters: Sequence[str]) -> bool:
        """Whether the sums can be followed."""
        x, k, o = letters
        inputs = [x[axis] for axis in signal.axes]
        return bool(
            signal.channels.size
            and all(len(set(t)) == len(t) for t in letters)
            and all(c in x or c in o for c in k)
            and any(c in inputs for c in k)
            and any(c in o for c in {*inputs, *(set(k) - set(x))})
        )

    def tie(
        self,
        network: Network,
        parts: Sequence[Part],
        path: str,
    ) -> None:
        """Let the channels of a kernel stay or go with inputs and units."""
        kernel = self._letters[1]
        for channels, axes in parts:
            places = network.places(channels)
            for axis, own in zip(axes, places, strict=True):
                along = self._places_along(kernel[axis])
                if along is None:
                    network.pin(own, f"`{path}` weights positions by it")
                else:
                    network.tie(own, along)

    def stays(self, kept: Kept) -> Mapping[str, NDArray[np.bool_]]:
        """Which places stay along each axis, by its letter."""
        return {
            c: kept(places)
            for c, places in {
                **self._input_places,
                **self._unit_places,
            }.items()
        }

    def reduced(
        self, kept: Kept
    ) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """The kernel and the bias of the inputs and units that are kept."""
        stays = self.stays(kept)
        kernel = self._cut(self._kernel, self._letters[1], stays)
        inputs = kept(self._signal.channels).ravel()
        constants = np.nan_to_num(self._signal.constants.ravel())
        shift = np.where(inputs, 0.0, constants) @ self._sums
        bias = self._bias
        if self.folds and (bias is not None or shift.any()):
            shape = self.bias_shape()
            shift = shift.reshape(shape)
            bias = shift if bias is None else bias + shift
        if bias is not None:
            letters = self._letters[2][-bias.ndim :] if bias.ndim else ""
            bias = self._cut(bias, letters, stays)
        return kernel, bias

    @property
    def bias_axes(self) -> str:
        """The letters of a bias with a value for each unit."""
        return "".join(self._unit_letters)

    def bias_shape(self) -> tuple[int, ...]:
        """The shape of a bias with a value for each unit."""
        output = self._letters[2]
        sizes = dict(
            zip(self._unit_letters, self.units.channels.shape, strict=True)
        )
        return tuple(
            sizes.get(c, 1)
            for c in output[output.index(self._unit_letters[0]) :]
        )

    def _cut(
        self,
        values: NDArray[Any],
        letters: str,
        stays: Mapping[str, NDArray[np.bool_]],
    ) -> NDArray[Any]:
        for axis, c in enumerate(letters):
            if c in stays and values.shape[axis] == len(stays[c]):
                values = np.compress(stays[c], values, axis=axis)
        return values

    def _places_along(self, letter: str) -> Channels | None:
        if letter in self._input_places:
            return self._input_places[letter]
        return self._unit_places.get(letter)

    def _covers_units(self, bias: NDArray[np.float64]) -> bool:
        """Whether the bias has a value of its own for each unit."""
        return bias.shape == self.bias_shape()

    def _unit_constants(
        self, reads: NDArray[np.bool_], is_even: bool
    ) -> Values:
        constants = self._signal.constants.ravel()
        known = ~np.isnan(constants)
        if not is_even:
            known &= constants == 0
        values = np.where(known, constants, 0.0) @ self._sums
        values = np.where(reads[~known].any(axis=0), np.nan, values)
        values = values.reshape(self.units.channels.shape)
        if self._bias is None:
            return values
        output = self._letters[2]
        rank = len(output)
        bias = self._bias.reshape(
            (1,) * (rank - self._bias.ndim) + self._bias.shape
        )
        positions = tuple(
            i for i, c in enumerate(output) if c not in self._unit_letters
        )
        return values + same_along(bias, positions)


def without_broadcast(
    letters: tuple[str, str],
    shapes: Sequence[Sequence[int]],
    signals: tuple[Signal, Signal],
) -> tuple[str, str]:
    """The letters of two tensors, with digits for axes that are repeated.

    An axis of size 1 is repeated if the other tensor has another size there,
    such as the axis of heads of a key that all queries share.

    Args:
        letters: those of the axes of the two tensors.
        shapes: the shapes of the tensors.
        signals: their channels. An axis of channels keeps its letter.
    """
    sizes = [
        dict(zip(t, shape, strict=True))
        for t, shape in zip(letters, shapes, strict=True)
    ]

    def renamed(own: int, other: int) -> str:
        along = signals[own].axes if signals[own].channels.size else ()
        return "".join(
            str(i)
            if i not in along and 1 == sizes[own][c] != sizes[other].get(c, 1)
            else c
            for i, c in enumerate(letters[own])
        )

    return renamed(0, 1), renamed(1, 0)


def product(
    path: str,
    network: Network,
    first: Signal,
    second: Signal,
    letters: Sequence[str],
    *,
    is_fixed: bool,
) -> Signal | None:
    """The channels of a sum of products of two tensors.

    Args:
        path: the name of the operation.
        network: the channels of the model.
        first: the channels of one tensor.
        second: the channels of the other one.
        letters: those of the axes of the two tensors and of the output; a
            digit for an axis of size 1 that is repeated.
        is_fixed: whether the scale of the sums is the same for any number of
            products.

    Returns:
        None if they cannot be followed.
    """
    a, b, o = letters
    if any(len(set(t)) != len(t) for t in letters):
        return None
    along = [
        [t[axis] for axis in signal.axes] if signal.channels.size else []
        for t, signal in zip((a, b), (first, second), strict=True)
    ]
    units = [c for c in o if c in along[0] or c in along[1]]
    sizes: dict[str, int] = {}
    places: list[dict[str, Channels]] = []
    for cs, signal in zip(along, (first, second), strict=True):
        own = network.places(signal.channels) if cs else ()
        places.append(dict(zip(cs, own, strict=True)))
        for c, size in zip(cs, signal.channels.shape, strict=False):
            if sizes.setdefault(c, size) != size:
                return None  # one of them is broadcast
    count = int(np.prod([sizes[c] for c in units]))
    most = max(first.channels.size, second.channels.size)
    if not any(along) or count * most > _MOST_PAIRS:
        return None
    signal = network.grid(
        tuple(sizes[c] for c in units), tuple(o.index(c) for c in units)
    )
    made = dict(zip(units, network.places(signal.channels), strict=True))
    _tie_letters(path, network, (a, b, o), (*places, made))
    scaled = [c for c in along[0] if c in along[1] and c not in o]
    if not is_fixed and all(
        np.isnan(s.constants).any() for s in (first, second)
    ):
        for c in scaled:
            network.pin(
                places[0][c],
                f"custom code may scale `{path}` by this width; in a "
                "functional model of the same operations it could go",
            )
    together = "".join(dict.fromkeys([*along[0], *along[1]]))
    nonzero = np.einsum(
        f"{''.join(along[0])},{''.join(along[1])}->{together}",
        *(
            (s.constants != 0).astype(np.float32) if cs else np.float32(1)
            for cs, s in zip(along, (first, second), strict=True)
        ),
    )
    needed = np.zeros(count, bool)
    for cs, operand in zip(along, (first, second), strict=True):
        if cs:
            reads = _pairs(nonzero, together, cs, units, sizes) != 0
            needed |= reads.any(axis=0)
            network.sums.append(
                WeightedSum(
                    path,
                    operand.channels.ravel(),
                    signal.channels.ravel(),
                    reads,
                    np.full(operand.channels.size, np.nan),
                    folds=False,
                    merges=False,
                )
            )
    if not units:  # one for all positions, such as the scores of one head
        network.pin(signal.channels, f"`{path}` sums over all channels")
        return signal_without_channels(len(o))
    values = _product_values((first, second), along, letters, units, sizes)
    values = np.where(needed.reshape(values.shape), values, 0.0)
    return signal.with_constants(values)


def _tie_letters(
    path: str,
    network: Network,
    letters: Sequence[str],
    places: tuple[dict[str, Channels], ...],
) -> None:
    """Let places with the same letter stay or go together."""
    a, b, _ = letters
    for c in dict.fromkeys(a + b):
        owned = [p[c] for p in places if c in p]
        for other in owned[1:]:
            network.tie(owned[0], other)
        if not owned:
            continue
        for tensor, own in zip((a, b), places, strict=False):
            if c in tensor and c not in own:
                network.pin(owned[0], f"`{path}` combines it with positions")


def _product_values(
    signals: tuple[Signal, Signal],
    along: Sequence[Sequence[str]],
    letters: Sequence[str],
    units: Sequence[str],
    sizes: Mapping[str, int],
) -> Values:
    """The values of the products that are constant, NaN for the others."""
    shape = tuple(sizes[c] for c in units)
    spread = []
    for cs, signal in zip(along, signals, strict=True):
        if not set(cs) <= set(units):
            spread.append(np.full(shape, np.nan))
            continue
        order = sorted(range(len(cs)), key=lambda i: units.index(cs[i]))
        values = signal.constants.transpose(order) if cs else np.array(np.nan)
        values = values.reshape([sizes[c] if c in cs else 1 for c in units])
        spread.append(np.broadcast_to(values, shape))
    a, b, o = letters
    summed = [c for c in dict.fromkeys(a + b) if c not in o and not c.isdigit()]
    if not summed:
        return spread[0] * spread[1]
    for (one, t), (value, u) in (
        ((signals[0], a), (spread[1], b)),
        ((signals[1], b), (spread[0], a)),
    ):
        is_average = (
            one.sums_to_one is not None
            and summed == [t[one.sums_to_one]]
            and summed[0] in u
        )
        if is_average:
            return value
    is_zero = (spread[0] == 0) | (spread[1] == 0)
    return np.where(is_zero, 0.0, np.nan)


def _pairs(
    weights: NDArray[Any],
    letters: str,
    inputs: Sequence[str],
    units: Sequence[str],
    sizes: Mapping[str, int],
) -> NDArray[Any]:
    """The weight of each input in each unit, shape (inputs, units).

    Args:
        weights: the weights, for each of the letters.
        letters: those of the axes of `weights`.
        inputs: the letters along which inputs lie.
        units: the letters along which units lie.
        sizes: the size of each letter.
    """
    if weights.dtype == bool:
        weights = weights.astype(np.float32)
    numbers = {c: i for i, c in enumerate({*letters, *inputs, *units})}
    as_unit = {c: len(numbers) + i for i, c in enumerate(units)}
    operands: list[Any] = [
        weights,
        [
            numbers[c] if c in inputs else as_unit.get(c, numbers[c])
            for c in letters
        ],
    ]
    for c in inputs:
        if c in as_unit:
            same = np.eye(sizes[c], dtype=weights.dtype)
            operands += [same, [numbers[c], as_unit[c]]]
        elif c not in letters:
            operands += [np.ones(sizes[c], weights.dtype), [numbers[c]]]
    for c in units:
        if c not in inputs and c not in letters:
            operands += [np.ones(sizes[c], weights.dtype), [as_unit[c]]]
    output = [*(numbers[c] for c in inputs), *(as_unit[c] for c in units)]
    count = int(np.prod([sizes[c] for c in inputs]))
    pairs: NDArray[Any] = np.einsum(*operands, output).reshape(count, -1)
    return pairs


def einsum_letters(subscripts: str, ranks: Sequence[int]) -> list[str] | None:
    """The letters of the operands and of the output, without an ellipsis.

    Returns:
        None if the ellipsis stands for different numbers of axes.
    """
    text = subscripts.replace(" ", "")
    operands, arrow, output = text.partition("->")
    terms = operands.split(",")
    if not arrow:
        once = sorted(
            c for c in set(operands) - {",", "."} if operands.count(c) == 1
        )
        output = ("..." if "..." in operands else "") + "".join(once)
    hidden = {
        rank - len(term.replace("...", ""))
        for term, rank in zip(terms, ranks, strict=True)
        if "..." in term
    }
    if len(hidden) > 1:
        return None
    free = [c for c in _LETTERS if c not in text]
    stand_in = "".join(free[: hidden.pop()]) if hidden else ""
    return [t.replace("...", stand_in) for t in (*terms, output)]


def matmul_letters(first: int, second: int) -> list[str]:
    """The letters of a matrix product of tensors of two ranks."""
    batch = _LETTERS[: max(first, second, 2) - 2]
    one = batch[len(batch) - (first - 2) :] + "xy" if first > 1 else "y"
    other = batch[len(batch) - (second - 2) :] + "yz" if second > 1 else "y"
    rows, columns = "x" * (first > 1), "z" * (second > 1)
    return [one, other, batch + rows + columns]


_LETTERS = "abcdefghijklmnoABCDEFGHIJKLMNO"
