"""The effects of a penalty: exact zeros, or shrinking as under L2."""

from functools import partial

from keras import ops

from kreg._types import Tensor
from kreg.foreign_objects import result_or_none
from kreg.regularizers import Penalty
from kreg.regularizers.grouping import Layout, along
from kreg.statistics._linter.schedule_course import ScheduleCourse


def makes_zeros(
    penalty: Penalty, shape: tuple[int, ...], course: ScheduleCourse
) -> bool:
    """Whether the proximal step makes a tiny weight exactly zero.

    Args:
        penalty: the penalty.
        shape: the shape of the weight.
        course: tells which strengths are ever above 0.
    """
    step = min(1.0, penalty.longest_step / 2.0)
    after = _after_step(penalty, shape, course, size=1e-6 * step, step=step)
    return after is not None and bool(ops.any(ops.equal(after, 0.0)))


def shrinks_in_proportion(
    penalty: Penalty, shape: tuple[int, ...], course: ScheduleCourse
) -> bool:
    """Whether a huge weight shrinks by a fraction of its size, as under L2."""
    step, size = min(1.0, penalty.longest_step / 2.0), 1e12
    after = _after_step(penalty, shape, course, size=size, step=step)
    return after is not None and bool(ops.any(ops.less(after, 0.9999 * size)))


def _after_step(
    penalty: Penalty,
    shape: tuple[int, ...],
    course: ScheduleCourse,
    *,
    size: float,
    step: float,
) -> Tensor | None:
    """A weight of equal entries after a proximal step; None if it raises.

    The step has a strength of 1 for every strength that is ever above 0. It is
    tried on a weight with one entry first, and on the whole shape if the
    penalty raises, as one with a factor for each entry does.
    """
    strengths = {
        name: float(course.is_ever_positive(penalty, name))
        for name in penalty.strength_names()
    }

    def step_on(shape: tuple[int, ...]) -> Tensor:
        all_axes = along(shape, range(len(shape)))
        groups = penalty.grouping(shape, Layout("layer", all_axes, all_axes))
        w = ops.full(shape, size, "float32")
        return penalty.proximal_step(w, step, strengths, groups)

    after = result_or_none(partial(step_on, (1,) * len(shape)))
    return result_or_none(partial(step_on, shape)) if after is None else after
