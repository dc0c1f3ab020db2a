"""Which weights a penalty makes zero."""

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding._bound_penalty import is_suspended
from kreg.regularizers import Penalty

_TINY = 1e-6


def zeroed_variables(
    owners: dict[Penalty, list[keras.Variable]],
) -> dict[Penalty, list[keras.Variable]]:
    """What each penalty can make zero; penalties that cannot are left out.

    Frozen weights and those under `freeze_support` are left out too.
    """
    zeroed = {
        penalty: [
            v
            for v in variables
            if v.trainable
            and not is_suspended(v)
            and np.asarray(ops.convert_to_numpy(would_be_zero(v))).any()
        ]
        for penalty, variables in owners.items()
    }
    return {p: variables for p, variables in zeroed.items() if variables}


def would_be_zero(variable: keras.Variable) -> Tensor:
    """Whether its penalty makes each entry zero if it is strong enough.

    Asks for the proximal step of a tiny weight, where every strength that is
    not 0 is 1: L2 shrinks it, L1 makes it zero, and a penalty factor of 0
    leaves it alone.

    Args:
        variable: a weight with a bound kreg penalty.

    Returns:
        A boolean tensor of its shape.
    """
    bound: BoundPenalty = variable.regularizer
    penalty = bound.penalty
    w = ops.full(variable.shape, _TINY, "float32")
    strengths = {
        name: 1.0 if _may_act(getattr(penalty, name)) else 0.0
        for name in penalty.strength_names()
    }
    return ops.equal(penalty.proximal_step(w, 1.0, strengths, bound.groups), 0)


def _may_act(strength: float | LearningRateSchedule) -> bool:
    return isinstance(strength, LearningRateSchedule) or strength > 0.0
