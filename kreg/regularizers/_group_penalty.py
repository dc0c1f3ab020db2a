"""Penalties that treat the entries of a group together."""

import numbers
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from kreg.regularizers._grouping import Grouping, along
from kreg.regularizers._layout import Layout
from kreg.regularizers._penalty import Penalty

Groups: TypeAlias = Literal["units", "inputs"] | tuple[int, ...]
_FIX = (
    "Name the axes inside a group instead, such as `groups=(0,)` for the "
    "columns of a matrix. "
)


class GroupPenalty(Penalty):
    """Base of penalties that set whole groups of weights to zero.

    Args:
        groups: `"units"`, `"inputs"`, or the axes inside a group.
        multiplier: float >= 0, what every strength is multiplied by.
    """

    def __init__(self, groups: Any, *, multiplier: float = 1.0) -> None:
        super().__init__(multiplier=multiplier)
        self._groups = _checked(groups)
        self.needs_layout = isinstance(self._groups, str)

    @property
    def groups(self) -> Groups:
        """What a group is; read-only."""
        return self._groups

    def grouping(
        self, shape: Sequence[int], layout: Layout | None = None
    ) -> Grouping:
        if isinstance(self._groups, tuple):
            return _along_axes(shape, self._groups)
        if layout is None:
            raise ValueError(
                f"`groups={self._groups!r}` has a meaning only in the layer "
                "that owns the weight: call `kreg.bind(model)` before "
                "training or evaluating, or pass a kreg callback to `fit`. "
                f"{_FIX}Received: {self!r} on a weight of shape "
                f"{tuple(shape)} that is not bound to a model"
            )
        found = layout.units if self._groups == "units" else layout.inputs
        if found is None:
            raise ValueError(
                f"`groups={self._groups!r}` is not defined for this weight of "
                f"shape {tuple(shape)} in a {layout.owner} layer. {_FIX}"
                f"Received: {self!r}"
            )
        return found

    def get_config(self) -> dict[str, Any]:
        groups = self._groups
        return {
            **super().get_config(),
            "groups": list(groups) if isinstance(groups, tuple) else groups,
        }


def _along_axes(shape: Sequence[int], groups: tuple[int, ...]) -> Grouping:
    rank = len(shape)
    axes = [axis + rank if axis < 0 else axis for axis in groups]
    if len(set(axes)) < len(axes) or not all(0 <= a < rank for a in axes):
        raise ValueError(
            "`groups` must name different axes of the weight, from "
            f"{-rank} to {rank - 1} for one of shape {tuple(shape)}. "
            f"Received: groups={groups!r}"
        )
    return along(shape, axes)


def _checked(groups: Any) -> Groups:
    if groups in ("units", "inputs"):
        return groups
    axes = (groups,) if isinstance(groups, numbers.Integral) else groups
    if isinstance(axes, (tuple, list)) and all(
        isinstance(a, numbers.Integral) and not isinstance(a, bool)
        for a in axes
    ):
        return tuple(int(a) for a in axes)
    raise ValueError(
        '`groups` must be "units", "inputs" or a tuple of the axes inside a '
        f"group. Received: groups={groups!r}"
    )
