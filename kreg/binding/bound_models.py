"""`bind` and `unbind`: tying a model's penalties to its clock; `at_step`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import keras

from kreg._arguments import keras_model
from kreg._types import Tensor
from kreg.binding.binding import (
    Binding,
    BoundPenalty,
    BoundRegularizer,
    ObservedRegularizer,
    own_regularizer,
    renew_functions,
)
from kreg.binding.hooks import install_hooks, remove_hooks, strategy_scope
from kreg.binding.weights import activity_penalties, weight_penalties
from kreg.layers.weights import layouts_of
from kreg.regularizers import Penalty
from kreg.regularizers.clock import clock_scope
from kreg.regularizers.strength_regularizer import StrengthRegularizer

bindings: WeakKeyDictionary[keras.Model, Binding] = WeakKeyDictionary()
"""The models that are bound, each with its binding."""


def bind(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> Binding:
    """Let the penalties of a model follow its optimizer's iterations.

    Once bound, schedules advance with the optimizer, multipliers can be
    changed at any time, and `fit` logs the parts of the loss beside `loss`:

    - `data_loss`: the loss without penalties of any kind.
    - `penalty`: the penalties on weights that act, by the gradient or by
      proximal steps.
    - `activity_penalty`, where there is one: what activity regularizers and
      `add_loss` add to the loss, such as the divergence of a VAE's layer.

    They are means over the samples of an epoch; `evaluate` returns them with
    `return_dict=True`. A `train_step` or `test_step` of your own must return
    its loss as `"loss"` or call `compute_loss`; otherwise only `penalty` is
    logged. On JAX it must call `compute_loss` if there are penalties on
    activities.

    The binding holds for every later `compile`, `fit` and `evaluate` of this
    model object, with no retrace. A model that was saved and loaded, cloned or
    copied is a new one and not bound. Every kreg callback binds its model by
    itself.

    What Keras saves stays as it is: `variable.regularizer` is replaced by an
    object that knows the clock, `layer.kernel_regularizer` is not. Binding
    twice does no harm. Penalties on activities and in `add_loss` follow the
    schedule inside `fit` and `evaluate`, and stay terms of the loss.

    Args:
        model: a `keras.Model`, compiled or not. Weights that it creates later
            are bound in the first step of `fit`; for a custom loop it must be
            built.
        optimizer: the `keras.optimizers.Optimizer` of a custom training loop
            or of an overridden `train_step` that does not use
            `model.optimizer`. Defaults to `None`: the optimizer that the
            model is compiled with whenever a step is run.

    Returns:
        The `Binding` of the model.

    Raises:
        TypeError: if `model` is not a `keras.Model` or `optimizer` not an
            optimizer.
        ValueError: if a penalty does not fit a weight, such as groups along
            an axis that it does not have. The message names the weight.

    Example:

    >>> import keras, kreg, numpy
    >>> ramp = kreg.schedules.LinearRamp(0.0, 1.0, steps=4)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(
    ...     1, kernel_initializer="ones", kernel_regularizer=kreg.L1(ramp))])
    >>> model.compile(keras.optimizers.SGD(0.0), "mse")
    >>> binding = kreg.bind(model)
    >>> x, y = numpy.zeros((8, 2)), numpy.zeros((8, 1))
    >>> history = model.fit(x, y, batch_size=2, epochs=2, verbose=0)
    >>> history.history["penalty"]  # means over strengths 0 to 0.75, then 1
    [0.75, 2.0]
    """
    keras_model(model)
    _refuse_other_than_optimizer(optimizer)
    binding = bindings.get(model)
    if binding is None:
        binding = bindings[model] = Binding(model, optimizer)
        install_hooks(model, binding, _bind_weights)
        changed = True
    else:
        changed = optimizer not in (None, binding.own_optimizer)
        if changed:
            binding.own_optimizer = optimizer
    if _bind_weights(model, binding) or changed:
        renew_functions(model)
    return binding


def renew_models_of(variables: Iterable[keras.Variable]) -> None:
    """Trace anew the steps of every bound model with one of `variables`."""
    changed = {id(variable) for variable in variables}
    for model in list(bindings):
        if any(id(variable) in changed for variable in model.weights):
            renew_functions(model)


def _refuse_other_than_optimizer(optimizer: object) -> None:
    if optimizer is not None and not isinstance(
        optimizer, keras.optimizers.Optimizer
    ):
        raise TypeError(
            "`optimizer` must be a `keras.optimizers.Optimizer` or None. "
            f"Received: optimizer={optimizer!r} "
            f"(of type {type(optimizer).__name__})"
        )


def _bind_weights(model: keras.Model, binding: Binding) -> bool:
    """Bind the weights that are not bound yet; return whether any was new."""
    layouts = layouts_of(model)
    bound: list[tuple[keras.Variable, Any]] = []
    for variable in model.weights:
        regularizer, suspended = variable.regularizer, False
        if isinstance(regularizer, BoundRegularizer):
            owner = regularizer.binding
            if owner is binding or (
                owner.own_optimizer and not binding.own_optimizer
            ):
                continue
            suspended = regularizer.suspended
            regularizer = regularizer.penalty
        if regularizer is None or isinstance(regularizer, ObservedRegularizer):
            continue
        if isinstance(regularizer, StrengthRegularizer):
            is_penalty = isinstance(regularizer, Penalty)
            bound_class = BoundPenalty if is_penalty else BoundRegularizer
            replacement = bound_class(
                regularizer, variable, binding, layouts.get(id(variable))
            )
            replacement.suspended = suspended
            bound.append((variable, replacement))
        else:
            bound.append((variable, ObservedRegularizer(regularizer, variable)))
    for variable, regularizer in bound:
        variable.regularizer = regularizer
    penalties = [*weight_penalties(model), *activity_penalties(model)]
    new = [
        p
        for p in dict.fromkeys(penalties)
        if binding.multipliers_with(p) is None
    ]
    if new:
        with strategy_scope(model):
            binding.hold_multipliers(new)
    return bool(bound or new)


def is_bound(model: keras.Model) -> bool:
    """Whether `model` is bound."""
    return model in bindings


def unbind(model: keras.Model) -> bool:
    """Undo `bind`: leave nothing of kreg but the user's own regularizers.

    The weights get back the regularizers that the user gave them, and the model
    its own training step. A schedule then stands still at its first value, and
    `fit` logs no `penalty`. Weights shared with another bound model stay bound
    to that one.

    Args:
        model: a `keras.Model`, bound or not.

    Returns:
        Whether it was bound.
    """
    binding = bindings.pop(model, None)
    if binding is None:
        return False
    remove_hooks(model)
    for variable in model.weights:
        regularizer = variable.regularizer
        if isinstance(regularizer, ObservedRegularizer) or (
            isinstance(regularizer, BoundRegularizer)
            and regularizer.binding is binding
        ):
            variable.regularizer = own_regularizer(variable)
    renew_functions(model)
    freed = {id(variable) for variable in model.weights}
    for other in list(bindings):
        if any(id(variable) in freed for variable in other.weights):
            bind(other)
    return True


class FixedStep:
    """A clock that always shows the same step."""

    def __init__(self, step: Tensor) -> None:
        self._step = step

    def step(self) -> Tensor:
        return self._step

    def multiplier(self, penalty: Any) -> float:
        return float(penalty.multiplier)

    def is_clock_of(self, owner: Any) -> bool:
        return True

    def updating_binding(self, owner: Any) -> Any:
        return owner


@contextmanager
def at_step(step: Tensor) -> Iterator[None]:
    """Evaluate every penalty at the optimizer iteration `step`.

    Use it to see the value of a penalty at some step of its schedule. It is
    also needed where kreg cannot know the step: in a custom loop under
    `jax.jit` that carries the optimizer's variables itself.

    Args:
        step: int or scalar integer tensor, the number of optimizer updates.

    Example:

    >>> import kreg, numpy
    >>> penalty = kreg.L1(kreg.schedules.LinearRamp(0.0, 1.0, steps=10))
    >>> with kreg.binding.at_step(5):
    ...     float(penalty(numpy.ones(4)))
    2.0
    """
    with clock_scope(FixedStep(step)):
        yield
