"""`PenaltyFamily`: a penalty whose strength a path can vary."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._arguments import shown
from kreg._types import Tensor
from kreg.binding.weights import weight_penalties
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Grouping
from kreg.surgery import attach

PenaltyMaker: TypeAlias = Callable[[float], Penalty]
PenaltyChoice: TypeAlias = PenaltyMaker | tuple[PenaltyMaker, Any]
_ROUNDING = 1e-6


@dataclass(frozen=True)
class PenaltyFamily:
    """A function `strength -> penalty` as one penalty of variable strength.

    Args:
        penalty: a penalty whose multiplier is the strength.
        fixed: the constant part of each strength of the penalty, by name.
        rules: selectors of the weights it acts on; None for all kernels.
        text: the penalty in words.
    """

    penalty: Penalty
    fixed: Mapping[str, float]
    rules: Sequence[Any] | None
    text: str

    def strengths(self, strength: float) -> dict[str, float]:
        """The strengths of the penalty, by name."""
        values = self.penalty.strengths(0, float(strength))
        return {name: float(value) for name, value in values.items()}

    def shrunk(
        self, pull: NDArray[Any], strength: float, groups: Grouping | None
    ) -> NDArray[Any]:
        """The move of a weight from zero by a gradient and a proximal step.

        Args:
            pull: minus the gradient of the data loss at the weight zero.
            strength: the strength.
            groups: the groups of the entries of the weight.

        Returns:
            The weight after the proximal step, divided by the step's length.
            This is 1, or less if the penalty requires it.
        """
        step = min(1.0, self.penalty.longest_step / 2.0)
        after = self.penalty.proximal_step(
            ops.convert_to_tensor(step * pull),
            step,
            self.strengths(strength),
            groups,
        )
        return np.asarray(ops.convert_to_numpy(after)) / step

    def attach(self, model: keras.Model) -> list[keras.Variable]:
        """Attach the penalty to a model; return the weights it acts on."""
        if self.rules is None:
            attach(model, self.penalty)
        else:
            attach(model, [(rule, self.penalty) for rule in self.rules])
        return self.attached_weights(model)

    def attached_weights(self, model: keras.Model) -> list[keras.Variable]:
        """The weights of a model to which the penalty is attached."""
        return weight_penalties(model)[self.penalty]


def penalty_family(penalty: Any, argument: str = "penalty") -> PenaltyFamily:
    """The `penalty` of a user as a `PenaltyFamily`.

    Args:
        penalty: a function `strength -> penalty`, such as
            `lambda s: kreg.L1L2(s, 1e-4)`, or a class of penalties, whose
            strengths are then all equal; or a pair of one of these and a
            selector, as in `kreg.attach`, or a list of selectors.
        argument: the user's name of the argument, for messages.

    Raises:
        TypeError: if `penalty` is none of these, or does not return kreg
            penalties.
        ValueError: if a strength of the returned penalties is not an affine
            function of `strength`, or follows a schedule.
    """
    rules = None
    if isinstance(penalty, tuple) and len(penalty) == 2:
        penalty, rules = penalty
        rules = list(rules) if isinstance(rules, (list, tuple)) else [rules]
    if not callable(penalty) or isinstance(
        penalty, keras.regularizers.Regularizer
    ):
        raise TypeError(
            f"`{argument}` must be a function of a strength that returns a "
            "kreg penalty, such as `kreg.L1` or "
            "`lambda s: kreg.L1L2(s, 1e-4)`, or a pair `(penalty, rules)` of "
            "such a function and selectors of weights. "
            f"Received: {argument}={shown(penalty)} (of type "
            f"{type(penalty).__name__})"
        )
    one, two, four = (
        _penalty_at(penalty, s, argument) for s in (1.0, 2.0, 4.0)
    )
    slopes, fixed = {}, {}
    at_one, at_two, at_four = (p.strengths() for p in (one, two, four))
    for name in at_one:
        slope = float(at_two[name]) - float(at_one[name])
        rest = float(at_one[name]) - slope
        size = max(abs(slope), abs(rest), abs(float(at_four[name])))
        if (
            abs(rest + 4.0 * slope - float(at_four[name])) > _ROUNDING * size
            or min(slope, rest) < -_ROUNDING * size
        ):
            raise ValueError(
                f"`{argument}` must make `{name}` proportional to the "
                "strength, or constant, or a sum of both. "
                "Received: a penalty with the "
                f"values {float(at_one[name])}, {float(at_two[name])} and "
                f"{float(at_four[name])} at the strengths 1, 2 and 4"
            )
        slopes[name] = slope if abs(slope) > _ROUNDING * size else 0.0
        fixed[name] = rest if abs(rest) > _ROUNDING * size else 0.0
    if not any(slopes.values()):
        raise ValueError(
            f"`{argument}` must return a penalty that depends on the strength. "
            f"Received: {one!r} at the strengths 1 and 2"
        )
    config = {**one.get_config(), **slopes, "multiplier": 1.0}
    cls = (
        type(one) if not any(fixed.values()) else _with_fixed_parts(one, fixed)
    )
    text = f"{one!r} at strength 1, {two!r} at strength 2"
    if rules is not None:
        text += f", on {rules!r}"
    return PenaltyFamily(cls.from_config(config), fixed, rules, text)


def _penalty_at(
    penalty: Callable[[float], Any], strength: float, argument: str
) -> Penalty:
    """The kreg penalty that a function returns for a strength."""
    made = penalty(strength)
    if isinstance(made, Penalty) and penalty is type(made):
        # A class with several strengths gets the same value for each.
        made = penalty(**dict.fromkeys(made.strengths(), strength))
    if not isinstance(made, Penalty):
        raise TypeError(
            f"`{argument}` must return a kreg penalty, such as "
            "`kreg.L1(strength)`, whose strength can move during training. "
            f"Received: {argument}({strength}) of type {type(made).__name__}"
        )
    if made.is_scheduled:
        raise ValueError(
            f"`{argument}` must return a penalty with fixed strengths: the "
            f"path moves them. Received: {made!r}, with a schedule"
        )
    return made


def _with_fixed_parts(penalty: Penalty, fixed: Mapping[str, float]) -> Any:
    """A copy whose multiplier does not affect the fixed part of a strength."""
    base = type(penalty)

    def strengths(
        self: Penalty, step: Tensor = 0, multiplier: Tensor | None = None
    ) -> dict[str, Tensor | float]:
        moving = base.strengths(self, step, multiplier)
        return {name: value + fixed[name] for name, value in moving.items()}

    return type(base.__name__, (base,), {"strengths": strengths})
