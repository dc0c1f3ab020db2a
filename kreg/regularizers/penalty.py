"""`Penalty`: the base class of penalties, loss terms with a proximal step."""

import math
from abc import abstractmethod

from kreg._types import Tensor
from kreg.regularizers.grouping import Grouping
from kreg.regularizers.strength import Strengths
from kreg.regularizers.strength_regularizer import StrengthRegularizer


class Penalty(StrengthRegularizer):
    """Base of kreg's penalties, which a `ProximalOptimizer` can apply.

    A new penalty defines only the abstract members: `value`, `grouping`,
    `proximal_step` and `weak_convexity`.
    """

    @property
    @abstractmethod
    def weak_convexity(self) -> float:
        """The least `r >= 0` that makes `value(u) + r * sum(u**2) / 2` convex.

        It is the largest over all strengths; 0.0 for a convex penalty. The
        literature calls it the modulus of weak convexity.
        """

    @property
    def longest_step(self) -> float:
        """The effective step up to which a proximal step has one solution.

        It is `1 / weak_convexity`, up to which the objective is convex, or
        infinite for a convex penalty. A longer step makes weights jump to zero,
        even those with small gradients, for which the step of an adaptive
        optimizer is long. A `ProximalOptimizer` takes at most half of it, and
        less under momentum.
        """
        return 1.0 / self.weak_convexity if self.weak_convexity else math.inf

    @abstractmethod
    def proximal_step(
        self,
        w: Tensor,
        effective_step: Tensor | float,
        strengths: Strengths,
        groups: Grouping | None = None,
    ) -> Tensor:
        """`argmin over u of value(u) + sum((u - w) ** 2 / (2 * t))`.

        Args:
            w: float tensor of any shape.
            effective_step: t, a scalar or a tensor of w's shape, >= 0.
            strengths: the strengths by name, as `penalty.strengths()` returns
                them.
            groups: the result of `grouping` for the weight. Defaults to `None`:
                the result for a weight without a layer.

        Returns:
            A tensor of w's shape, whose zeros are exactly +0.0.
        """
