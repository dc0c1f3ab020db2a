"""The table of optimizers: Keras's rows, and those that users register."""

from collections.abc import Callable
from typing import Any, Literal, TypeGuard

import keras

from kreg._arguments import boolean, real_number
from kreg._keras_private import changed_gradient_method
from kreg._types import Tensor
from kreg.optimizers._keras_optimizers import KERAS_OPTIMIZERS
from kreg.optimizers.optimizer_row import (
    EffectiveStep,
    EffectiveStepRule,
    GradientMemory,
    Momentum,
    OptimizerRow,
)

_table: dict[type, OptimizerRow] = dict(KERAS_OPTIMIZERS)


def register_optimizer(
    optimizer_class: type[keras.optimizers.Optimizer],
    *,
    gradient_memory: (
        GradientMemory
        | type[keras.optimizers.Optimizer]
        | Literal["inherited"]
        | None
    ) = "inherited",
    momentum: Momentum | float | Literal["inherited"] | None = "inherited",
    momentum_holds_rate: bool = False,
) -> Callable[[EffectiveStepRule], EffectiveStepRule]:
    """Register how an optimizer moves weights.

    `ProximalOptimizer` then accepts the optimizer. With a `gradient_memory`
    kreg can also compute the `optimality` of its weights, by which `kreg.path`
    stops. With a `momentum` it also accepts penalties that are not convex.

    Args:
        optimizer_class: a subclass of `keras.optimizers.Optimizer`. Its own
            subclasses are covered, too, unless they override `update_step`,
            `apply` or `apply_gradients`.
        gradient_memory: the average of past gradients that it keeps: a
            `GradientMemory`; or the class of an optimizer that kreg knows, if
            both keep the same averages under the same names; or None if it
            keeps none, so that `optimality` is unknown. Defaults to
            `"inherited"`: the memory of its base class. Pass another one if it
            fills the slots of that class differently, such as with momentum
            that is not multiplied by the learning rate.
        momentum: the decay of its average of past gradients, such as SGD's
            `momentum` and Adam's `beta_1`: a number of at least 0 and below 1,
            a function of the optimizer that returns one, or None if unknown.
            With None kreg refuses `MCP`, `SCAD` and other penalties that are
            not convex, because a larger momentum requires shorter steps of
            them. Defaults to `"inherited"`: that of its base class.
        momentum_holds_rate: bool, whether each past gradient enters the
            momentum multiplied by the learning rate of its time, as in SGD and
            RMSprop. The decorated function is then called with the average of
            these rates. Without that, weights would be shrunk too little while
            the rate falls. Defaults to `False`: the rate multiplies the whole
            update, as in Adam.

    Returns:
        A decorator of a function
        `(optimizer, variable, learning_rate) -> EffectiveStep`. kreg calls the
        function after each update, when `optimizer.iterations` includes it. The
        learning rate is that of the update, a scalar tensor of the variable's
        dtype. On TensorFlow, XLA must be able to compile the function.

    Raises:
        TypeError: if `optimizer_class` is not a class of optimizers, or
            another argument is of the wrong type.
        ValueError: if kreg knows no gradient memory of the class that
            `gradient_memory` names, or `momentum` is out of range.

    Example:

    >>> import keras, kreg
    >>> class HeavyBall(keras.optimizers.SGD):
    ...     def update_step(self, gradient, variable, learning_rate):
    ...         m = self.momentums[self._get_variable_index(variable)]
    ...         self.assign(m, self.momentum * m - learning_rate * gradient)
    ...         self.assign_add(variable, m)
    >>> @kreg.optimizers.register_optimizer(
    ...     HeavyBall, momentum_holds_rate=True)
    ... def heavy_ball(optimizer, variable, learning_rate):
    ...     step = learning_rate / (1.0 - optimizer.momentum)
    ...     return kreg.optimizers.EffectiveStep(step)
    """
    if not _is_optimizer_class(optimizer_class):
        raise TypeError(
            "`optimizer_class` must be a subclass of "
            "`keras.optimizers.Optimizer`. "
            f"Received: optimizer_class={optimizer_class!r}"
        )
    holds_rate = boolean("momentum_holds_rate", momentum_holds_rate)
    base = _inherited_row(optimizer_class)
    memory = (
        base.gradient_memory
        if isinstance(gradient_memory, str) and gradient_memory == "inherited"
        else _explicit_memory(gradient_memory)
    )
    decay = (
        base.momentum
        if isinstance(momentum, str) and momentum == "inherited"
        else _explicit_momentum(momentum)
    )

    def register(effective_step: EffectiveStepRule) -> EffectiveStepRule:
        if not callable(effective_step):
            raise TypeError(
                "`register_optimizer` decorates a function `(optimizer, "
                "variable, learning_rate) -> kreg.optimizers.EffectiveStep`. "
                f"Received: {effective_step!r} "
                f"(of type {type(effective_step).__name__})"
            )
        rule = _checked_rule(optimizer_class, effective_step)
        _table[optimizer_class] = OptimizerRow(rule, memory, decay, holds_rate)
        return effective_step

    return register


def row_of(optimizer_class: type) -> OptimizerRow:
    """The row of a class of optimizers; an empty row if there is none.

    A class without a row of its own has the row of the nearest base class whose
    `update_step` it inherits.
    """
    base = _known_base(optimizer_class)
    return OptimizerRow() if base is None else _table[base]


def _known_base(optimizer_class: type) -> type | None:
    update = getattr(optimizer_class, "update_step", None)
    for base in optimizer_class.__mro__:
        if base in _table and getattr(base, "update_step", None) is update:
            return base
    return None


def effective_step_rule(
    optimizer: keras.optimizers.Optimizer,
) -> EffectiveStepRule:
    """The rule of an optimizer's effective step.

    Raises:
        ValueError: if it has none, naming the optimizers that have one.
    """
    cls = type(optimizer)
    row = row_of(cls)
    if row.effective_step is not None:
        return row.effective_step
    supported = sorted(
        base.__name__ for base, row in _table.items() if row.effective_step
    )
    reason = f"{row.refusal} " if row.refusal else ""
    raise ValueError(
        "`inner_optimizer` must be an optimizer whose effective step is known: "
        f"{', '.join(supported)}, or one registered with "
        f"`kreg.optimizers.register_optimizer`. {reason}"
        f"Received: inner_optimizer={optimizer!r} (of type {cls.__name__})"
    )


def refuse_changed_gradients(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuse a class that may change gradients before its update.

    Raises:
        ValueError: if the class is not registered and overrides a method that
            gradients pass on their way to `update_step`.
    """
    base = _known_base(type(optimizer))
    name = None if base is None else changed_gradient_method(optimizer, base)
    if name is not None:
        cls = type(optimizer).__name__
        raise ValueError(
            f"{cls} overrides `{name}`, where it may change gradients, so kreg "
            "does not know how far a unit of gradient moves a weight. To clip "
            "gradients set `clipnorm`, `global_clipnorm` or `clipvalue`. For "
            "anything else state the step by "
            f"`kreg.optimizers.register_optimizer({cls})`. "
            f"Received: inner_optimizer={optimizer!r} (of type {cls})"
        )


def momentum_of(optimizer: keras.optimizers.Optimizer) -> float | None:
    """The decay of the optimizer's average of past gradients, if known."""
    momentum = row_of(type(optimizer)).momentum
    return None if momentum is None else float(momentum(optimizer))


def momentum_holds_rate(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the momentum holds the learning rates of past updates."""
    return row_of(type(optimizer)).momentum_holds_rate


def momentum_holds_step(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the momentum holds effective steps unlike the present one."""
    return row_of(type(optimizer)).momentum_holds_step(optimizer)


def _is_optimizer_class(value: object) -> TypeGuard[type]:
    return isinstance(value, type) and issubclass(
        value, keras.optimizers.Optimizer
    )


def _checked_rule(
    optimizer_class: type, rule: EffectiveStepRule
) -> EffectiveStepRule:
    """A user's rule that raises if it does not return an `EffectiveStep`."""

    def checked(
        optimizer: Any, variable: Any, learning_rate: Tensor
    ) -> EffectiveStep:
        step: object = rule(optimizer, variable, learning_rate)
        if not isinstance(step, EffectiveStep):
            raise TypeError(
                "The function registered by `register_optimizer("
                f"{optimizer_class.__name__})` must return a "
                "`kreg.optimizers.EffectiveStep`. Received: a value of type "
                f"{type(step).__name__}"
            )
        return step

    return checked


def _inherited_row(optimizer_class: type) -> OptimizerRow:
    bases = optimizer_class.__mro__[1:]
    return next((_table[b] for b in bases if b in _table), OptimizerRow())


def _explicit_momentum(value: Momentum | float | None) -> Momentum | None:
    if value is None or callable(value):
        return value
    number = real_number("momentum", value)
    if not 0.0 <= number < 1.0:
        raise ValueError(
            "`momentum` must be at least 0 and below 1. "
            f"Received: momentum={value!r}"
        )
    return lambda optimizer: number


def _explicit_memory(
    source: GradientMemory | type[keras.optimizers.Optimizer] | str | None,
) -> GradientMemory | None:
    if source is None or isinstance(source, GradientMemory):
        return source
    if not _is_optimizer_class(source):
        raise TypeError(
            "`gradient_memory` must be a `kreg.optimizers.GradientMemory`, a "
            'subclass of `keras.optimizers.Optimizer`, "inherited" or None. '
            f"Received: gradient_memory={source!r} "
            f"(of type {type(source).__name__})"
        )
    memory = row_of(source).gradient_memory
    if memory is None:
        raise ValueError(
            "`gradient_memory` must be an optimizer that keeps an average of "
            "past gradients, such as `keras.optimizers.SGD` or "
            "`keras.optimizers.Adam`; for another pass a "
            "`kreg.optimizers.GradientMemory`. "
            f"Received: gradient_memory={source!r}"
        )
    return memory
