"""A penalty that is off when training ends."""

from collections.abc import Iterator

from kreg.regularizers import Penalty
from kreg.statistics._linter._weight_facts import Fault, ModelFacts


def zero_at_the_end(model: ModelFacts) -> Iterator[Fault]:
    """A strength that is 0 at the end, though it is steered."""
    ramp = max(1, (model.course.steps or 2000) // 2)
    for weight in model.weights:
        penalty = weight.regularizer
        if not weight.is_penalized or not isinstance(penalty, Penalty):
            continue
        if penalty.multiplier == 0.0:
            yield Fault(
                weight.path,
                f"the multiplier of its {type(penalty).__name__} is 0, so the "
                "penalty does not act unless a callback changes it",
                "call `kreg.bind(model)` and set "
                f"`{model.penalty_code(weight)}.multiplier = 1.0`",
            )
            continue
        for name in penalty.strength_names():
            if model.course.is_zero_at_the_end(penalty, name):
                yield Fault(
                    weight.path,
                    f"the schedule of `{name}` of its "
                    f"{type(penalty).__name__} is 0 {model.course.end}, so "
                    "it has no say in where training ends",
                    "let it end above 0, such as "
                    f"`kreg.schedules.LinearRamp(0.0, 1e-4, steps={ramp})`",
                )
