"""`bind`, `unbind` and `at_step`: which step a model's penalties follow."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from kreg._arguments import keras_model, nonnegative_integer, wrong_type
from kreg._keras_private import flatten_layers
from kreg._types import Tensor
from kreg.binding.binding import (
    Binding,
    BoundPenalty,
    BoundRegularizer,
    BoundTiePart,
    ObservedRegularizer,
    bindings,
    renew_functions,
)
from kreg.binding.hooks import install_hooks, remove_hooks, strategy_scope
from kreg.binding.ties import TiePart, tie_again
from kreg.binding.weight_optimizers import join_bound_models
from kreg.binding.weights import (
    acting_regularizer,
    activity_penalties,
    weight_penalties,
)
from kreg.layers.weights import layouts_of
from kreg.regularizers import Penalty
from kreg.regularizers.clock import clock_scope
from kreg.regularizers.grouping import Grouping, Layout
from kreg.regularizers.strength_regularizer import StrengthRegularizer


def bind(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer
    | Mapping[keras.layers.Layer, keras.optimizers.Optimizer]
    | None = None,
) -> Binding:
    """Let the penalties of a model follow its optimizer's iterations.

    Once bound, schedules advance with the optimizer, multipliers can be
    changed at any time, and `fit` logs the parts of the loss beside `loss`:

    - `data_loss`: the loss without penalties of any kind.
    - `penalty`: the penalties on weights, whether they act by the gradient or
      by proximal steps.
    - `activity_penalty`, if there is one: the sum of activity regularizers and
      of `add_loss` terms, such as the KL divergence of a VAE.

    They are means over the samples of an epoch; `evaluate` returns them with
    `return_dict=True`. A `train_step` or `test_step` of your own must return
    its loss as `"loss"` or call `compute_loss`; otherwise only `penalty` is
    logged. On JAX it must call `compute_loss` if there are penalties on
    activities.

    The binding lasts for every later `compile`, `fit` and `evaluate` of this
    model object, and includes weights that the model creates later. A model
    that was loaded, cloned or copied is a new object and not bound. Every kreg
    callback binds its model by itself.

    Binding changes nothing that Keras saves: `variable.regularizer` is replaced
    by an object that knows the clock, but `layer.kernel_regularizer` is not.
    Binding twice does no harm. Penalties on activities and in `add_loss` follow
    their schedule inside `fit` and `evaluate`, and stay terms of the loss.

    Each weight follows the optimizer that updates it. With Keras's own
    `train_step` that is `model.optimizer`. A `train_step` of your own, as in a
    GAN, may use several optimizers. kreg finds those that are attributes of the
    model or of a layer, but learns which one updates a weight only from the
    first update. Under `ProximalOptimizer` that is too late, so name them
    beforehand:

        kreg.bind(gan, {
            gan.generator: gan.g_optimizer,
            gan.discriminator: gan.d_optimizer,
        })

    Args:
        model: a `keras.Model`, compiled or not. Weights that it creates later
            are bound in the first step of `fit`; for a custom loop it must be
            built.
        optimizer: the optimizer that updates the weights in a custom training
            loop, or in an overridden `train_step` that does not use
            `model.optimizer`: a `keras.optimizers.Optimizer` for all weights,
            or a mapping from models and layers inside `model` to the optimizer
            of each. Where parts overlap, the last one counts. The optimizer
            that the model is compiled with also stands for one from a later
            `compile`. `fit` with Keras's own `train_step` ignores the argument.
            Defaults to `None`: kreg finds the optimizers, and the argument of
            an earlier call is forgotten.

    Returns:
        The `Binding` of the model.

    Raises:
        TypeError: if `model` is not a `keras.Model`, or `optimizer` is neither
            an optimizer nor a mapping of layers to optimizers.
        ValueError: if a layer is not in the model, or a penalty does not fit a
            weight, such as groups along an axis that the weight lacks. The
            message names the weight.

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
    parts = _optimizers_of_parts(model, optimizer)
    binding = bindings.get(model)
    is_new = binding is None
    if binding is None:
        binding = Binding(model)
    changed = binding.optimizers.assign(parts)
    if is_new:
        bindings[model] = binding
        join_bound_models(binding.optimizers, True)
        install_hooks(model, binding, _bind_weights)
    if _bind_weights(model, binding) or changed or is_new:
        binding.optimizers.look()
        renew_functions(model)
    return binding


def ensure_bound(model: keras.Model) -> Binding:
    """The binding of `model`, which is bound first if necessary.

    The optimizers that the user named in `bind` are kept.
    """
    keras_model(model)
    binding = bindings.get(model)
    if binding is None:
        return bind(model)
    if _bind_weights(model, binding):
        renew_functions(model)
    binding.optimizers.look()
    return binding


def renew_models_of(variables: Iterable[keras.Variable]) -> None:
    """Retrace the steps of every bound model that has one of `variables`."""
    changed = {id(variable) for variable in variables}
    for model in list(bindings):
        if any(id(variable) in changed for variable in model.weights):
            renew_functions(model)


def _optimizers_of_parts(
    model: keras.Model, optimizer: object
) -> Mapping[keras.layers.Layer, keras.optimizers.Optimizer]:
    """The argument `optimizer` of `bind` as a mapping, checked."""
    if optimizer is None:
        return {}
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return {model: optimizer}
    if not isinstance(optimizer, Mapping) or not all(
        isinstance(part, keras.layers.Layer)
        and isinstance(of_part, keras.optimizers.Optimizer)
        for part, of_part in optimizer.items()
    ):
        raise TypeError(
            "`optimizer` must be a `keras.optimizers.Optimizer`, a mapping "
            "from layers or models to optimizers, or None. "
            f"Received: optimizer={optimizer!r} "
            f"(of type {type(optimizer).__name__})"
        )
    if not optimizer:
        raise ValueError(
            "`optimizer` must name at least one part of the model, or be None. "
            "Received: optimizer={}"
        )
    inside = {id(layer) for layer in flatten_layers(model)}
    for part in optimizer:
        if id(part) not in inside:
            raise ValueError(
                "`optimizer` must map layers and models that are in "
                f"`{model.name}`. Received: optimizer with {part!r}, which is "
                "not in it"
            )
    return optimizer


def _bind_weights(model: keras.Model, binding: Binding) -> bool:
    """Bind weights that are not bound yet; return whether there were any."""
    tie_again(model)
    layouts: dict[int, Layout] = {}
    bound: list[tuple[keras.Variable, Any]] = []
    misfits: list[keras.Variable] = []
    for variable in model.weights:
        regularizer, suspended = variable.regularizer, False
        if isinstance(regularizer, BoundRegularizer):
            owner = regularizer.binding
            weight = id(variable)
            if owner is binding or (
                owner.optimizers.is_assigned(weight)
                and not binding.optimizers.is_assigned(weight)
            ):
                continue
            suspended = regularizer.suspended
            regularizer = regularizer.unbound
        if regularizer is None or isinstance(regularizer, ObservedRegularizer):
            continue
        layouts = layouts or layouts_of(model)
        layout = layouts.get(id(variable))
        if acting_regularizer(variable, layout) is None:
            misfits.append(variable)
        elif isinstance(regularizer, (StrengthRegularizer, TiePart)):
            replacement = _bound(regularizer, variable, binding, layout)
            replacement.suspended = suspended
            bound.append((variable, replacement))
        else:
            bound.append((variable, ObservedRegularizer(regularizer, variable)))
    for variable, regularizer in bound:
        variable.regularizer = regularizer
    binding.take_off(misfits)
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


def _bound(
    regularizer: StrengthRegularizer | TiePart,
    variable: keras.Variable,
    binding: Binding,
    layout: Layout | None,
) -> BoundRegularizer:
    """The runtime object that evaluates a kreg regularizer on a weight."""
    if isinstance(regularizer, TiePart):
        return BoundTiePart(regularizer, binding)
    try:
        groups: Grouping | None = regularizer.grouping(
            tuple(variable.shape), layout
        )
    except ValueError as error:
        raise ValueError(f"On `{variable.path}`: {error}") from None
    is_penalty = isinstance(regularizer, Penalty)
    bound_class = BoundPenalty if is_penalty else BoundRegularizer
    return bound_class(regularizer, variable, binding, groups)


def is_bound(model: keras.Model) -> bool:
    """Whether `model` is bound, by `kreg.bind` or by a kreg callback.

    Args:
        model: a `keras.Model`.

    Raises:
        TypeError: if `model` is not a `keras.Model`.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> binding = kreg.bind(model)
    >>> kreg.binding.is_bound(model)
    True
    """
    keras_model(model)
    return model in bindings


def unbind(model: keras.Model) -> bool:
    """Undo `bind`: remove everything but the user's own regularizers.

    The weights get back the regularizers that the user gave them, and the model
    its own training step. A schedule then stays at its first value, and `fit`
    no longer logs `penalty`. Weights shared with another bound model stay bound
    to that model.

    Args:
        model: a `keras.Model`, bound or not.

    Returns:
        Whether it was bound.

    Raises:
        TypeError: if `model` is not a `keras.Model`.

    Example:

    >>> import keras, kreg
    >>> layer = keras.layers.Dense(1, kernel_regularizer=kreg.L1(0.5))
    >>> model = keras.Sequential([keras.Input((2,)), layer])
    >>> binding = kreg.bind(model)
    >>> kreg.binding.unbind(model)
    True
    >>> layer.kernel.regularizer
    L1(l1=0.5)
    """
    keras_model(model)
    binding = bindings.pop(model, None)
    if binding is None:
        return False
    join_bound_models(binding.optimizers, False)
    remove_hooks(model)
    binding.put_back()
    for variable in model.weights:
        regularizer = variable.regularizer
        if isinstance(regularizer, ObservedRegularizer) or (
            isinstance(regularizer, BoundRegularizer)
            and regularizer.binding is binding
        ):
            variable.regularizer = regularizer.unbound
    renew_functions(model)
    freed = {id(variable) for variable in model.weights}
    for other in list(bindings):
        if any(id(variable) in freed for variable in other.weights):
            ensure_bound(other)
    return True


class FixedStep:
    """A clock that stands still at one step."""

    def __init__(self, step: Tensor) -> None:
        self._step = step

    def step(self) -> Tensor:
        return self._step

    def multiplier(self, penalty: Any) -> float:
        return float(penalty.multiplier)

    def has(self, bound: BoundRegularizer) -> bool:
        return True

    def step_of(self, bound: BoundRegularizer) -> Tensor:
        return self._step

    def optimizer_of(
        self, bound: BoundRegularizer
    ) -> keras.optimizers.Optimizer | None:
        return bound.binding.optimizer_of(bound)

    def is_constant(self, bound: BoundRegularizer) -> bool:
        return False


@contextmanager
def at_step(step: Tensor) -> Iterator[None]:
    """Evaluate every penalty at the optimizer iteration `step`.

    Use it to compute the value of a penalty at some step of its schedule. It is
    required where kreg cannot know the step: in a custom loop under `jax.jit`
    that passes the optimizer's variables itself.

    Args:
        step: int or scalar integer tensor, the number of optimizer updates.

    Example:

    >>> import kreg, numpy
    >>> penalty = kreg.L1(kreg.schedules.LinearRamp(0.0, 1.0, steps=10))
    >>> with kreg.binding.at_step(5):
    ...     float(penalty(numpy.ones(4)))
    2.0
    """
    if isinstance(step, np.ndarray):
        step = step[()]
    if isinstance(step, np.generic) or getattr(step, "shape", None) != ():
        step = nonnegative_integer("step", step)
    elif "int" not in keras.backend.standardize_dtype(step.dtype):
        raise wrong_type("step", "an int or an integer tensor", step)
    with clock_scope(FixedStep(step)):
        yield
