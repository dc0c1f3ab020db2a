"""Rules about gradients that are clipped where the optimizer cannot see it."""

from collections.abc import Iterator
from types import CodeType
from typing import Any

from kreg.regularizers import Penalty
from kreg.statistics._linter.model_facts import Fault, ModelFacts

# Functions of TensorFlow, torch and optax that clip gradients and hardly
# anything else. `clip` and `clip_by_value` also clip images and weights.
_CLIPPING = frozenset(
    {
        "clip_by_global_norm",
        "clip_by_norm",
        "clip_grad_norm",
        "clip_grad_norm_",
        "clip_grad_value_",
        "clip_grads_with_norm_",
        "clip_gradients",
    }
)


def clipped_in_train_step(model: ModelFacts) -> Iterator[Fault]:
    """A user's own training step that clips gradients by itself.

    Clipping makes the gradient smaller, but not the proximal step.
    """
    name = _own_clipping(model.model)
    if name is None:
        return
    for weight in model.weights:
        if (
            weight.is_penalized
            and weight.optimizer is not None
            and weight.optimizer.applies_penalties
            and isinstance(weight.regularizer, Penalty)
        ):
            yield Fault(
                weight.path,
                f"`train_step` calls `{name}`, which shortens updates but not "
                "the proximal steps, so that the penalty is too strong",
                "leave the clipping to the optimizer, as in "
                f"`keras.optimizers.{weight.optimizer.name}(clipnorm=1.0)`",
            )


def _own_clipping(model: Any) -> str | None:
    """The first function that clips gradients in the code of `train_step`."""
    code = getattr(type(model).train_step, "__code__", None)
    pending = [] if code is None else [code]
    while pending:
        code = pending.pop()
        for name in code.co_names:
            if name in _CLIPPING:
                return str(name)
        pending += [c for c in code.co_consts if isinstance(c, CodeType)]
    return None
