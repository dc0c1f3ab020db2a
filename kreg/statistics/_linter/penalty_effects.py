"""What a penalty does to weights: zeros, or shrinking in proportion."""

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
    """Whether the proximal step sends a tiny weight to exactly zero.

    Args:
        penalty: the penalty.
        shape: the shape of the weight.
        course: knows which strengths are ever above 0.
    """
    step = min(1.0, penalty.longest_step / 2.0)
    after = _after_step(penalty, shape, course, size=1e-6 * step, step=step)
    return after is not None and bool(ops.any(ops.equal(after, 0.0)))


def shrinks_in_proportion(
    penalty: Penalty, shape: tuple[int, ...], course: ScheduleCourse
) -> bool:
    """Whether even a huge weight loses a part of its size, as under L2."""
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
    """What a proximal step makes of entries that all have one size.

    Every strength that is ever above 0 is 1 in it.

    One entry along each axis is enough, unless the penalty has factors for
    the whole weight. None where the penalty raises.
    """
    strengths = {
        name: float(course.is_ever_positive(penalty, name))
        for name in penalty.strength_names()
    }

    def ask(shape: tuple[int, ...]) -> Tensor:
        whole = along(shape, range(len(shape)))
        groups = penalty.grouping(shape, Layout("layer", whole, whole))
        w = ops.full(shape, size, "float32")
        return penalty.proximal_step(w, step, strengths, groups)

    after = result_or_none(partial(ask, (1,) * len(shape)))
    return result_or_none(partial(ask, shape)) if after is None else after
