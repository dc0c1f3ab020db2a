"""`kreg.freeze_support`: keep the zeros of a model while it trains on."""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from kreg._arguments import model_with_weights
from kreg._keras_private import responsible_optimizer, slots
from kreg._types import Tensor
from kreg.binding.binding import (
    BoundRegularizer,
    innermost_optimizer,
    member_optimizers,
    penalty_applier,
)
from kreg.binding.bound_models import ensure_bound, renew_models_of
from kreg.binding.hooks import strategy_scope
from kreg.binding.weight_optimizers import WeightOptimizers
from kreg.binding.weights import Weights, chosen_variables
from kreg.statistics.rows import distinct_paths


class KeepSupport(keras.constraints.Constraint):
    """A constraint that keeps the entries zero that were zero at its start.

    Args:
        variable: the weight.
        constraint: the weight's own constraint, applied first, or None.
    """

    def __init__(
        self,
        variable: keras.Variable,
        constraint: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.constraint = constraint
        self.support = keras.Variable(
            _support_of(variable),
            trainable=False,
            name="kreg_support",
        )

    def renew(self, variable: keras.Variable) -> None:
        """Keep the zeros that the weight has now, not the earlier ones."""
        self.support.assign(_support_of(variable))

    def __call__(self, w: Tensor) -> Tensor:
        if self.constraint is not None:
            w = self.constraint(w)
        return self.kept(ops.convert_to_tensor(w))

    def kept(self, x: Tensor) -> Tensor:
        """`x` with zeros outside the support."""
        return ops.where(self.support > 0, x, ops.zeros_like(x))


def _support_of(variable: keras.Variable) -> Tensor:
    return ops.cast(ops.not_equal(variable, 0), "float32")


def freeze_support(
    model: keras.Model, weights: Weights | None = None
) -> dict[str, int]:
    """Keep the zeros of a model while the other weights train on unpenalized.

    This is the second half of the relaxed lasso. An L1 penalty finds which
    weights are needed, but also shrinks them, so train on with the zeros fixed
    and the penalty off. It works with every optimizer, and on loaded models.

    From now on, for each chosen weight, entries that are exactly 0.0 stay 0.0,
    a kreg penalty counts as having strength 0, and the optimizer's momenta and
    second moments are cleared at the zeros. Regularizers that are not kreg's
    go on acting. `unfreeze_support` undoes all this.

    A saved model holds the zeros, but not the freeze: call it again after
    loading. A second call keeps the zeros that there are then. It does not
    compile the training step again, except on JAX. Compile your own training
    steps (`tf.function`, `jax.jit`) again after the call. If you call `compile`
    later, choose an optimizer without moving averages, or
    `kreg.ProximalOptimizer`.

    Args:
        model: a `keras.Model` with weights, compiled or not.
        weights: the weights to freeze the support of: an iterable of variables
            and layers of the model. Defaults to `None`: all with a kreg
            penalty.

    Returns:
        A dict from `variable.path` to the number of zeros that are kept.

    Raises:
        TypeError: if `weights` holds anything but variables and layers.
        ValueError: if no weight is chosen, or one that is not in the model; if
            an optimizer other than `kreg.ProximalOptimizer` will replace
            weights by their moving averages, which are not zero.

    Example:

    >>> import keras, kreg, numpy
    >>> model = keras.Sequential([keras.Input((3,), name="x"),
    ...     keras.layers.Dense(1, kernel_regularizer=kreg.L1(), name="y")])
    >>> model.compile("adam", "mse")
    >>> model.set_weights([numpy.array([[0.0], [1.0], [0.0]]), numpy.zeros(1)])
    >>> list(kreg.freeze_support(model).values())
    [2]
    >>> history = model.fit(numpy.ones((8, 3)), numpy.ones((8, 1)), verbose=0)
    >>> (model.get_weights()[0] == 0.0).ravel().tolist()
    [True, False, True]
    >>> history.history["penalty"]
    [0.0]

    References:
        Meinshausen, "Relaxed Lasso", Computational Statistics & Data Analysis
        52(1), 2007.
    """
    optimizers = ensure_bound(model).optimizers
    model_with_weights(model)
    if weights is None:
        chosen = [v for v in model.weights if _is_penalized(v)]
    else:
        chosen = chosen_variables(model, weights)
    if not chosen:
        raise ValueError(
            "`weights` must name weights of the model: none has a kreg "
            "penalty, so name the weights or layers whose zeros to keep. "
            f"Received: weights={weights!r} of the model `{model.name}`"
        )
    _refuse_averages(optimizers, chosen)
    stale = []
    with strategy_scope(model):
        for variable in chosen:
            if isinstance(variable.constraint, KeepSupport):
                variable.constraint.renew(variable)
            else:
                variable.constraint = KeepSupport(variable, variable.constraint)
                stale.append(variable)
            _suspend(variable, True)
            _forget_at_zeros(optimizers, variable)
    # A compiled step reads the support at each call, but on JAX its value is a
    # constant in the step.
    renew_models_of(chosen if keras.backend.backend() == "jax" else stale)
    return {
        path: int(ops.convert_to_numpy(ops.sum(ops.cast(w == 0, "int32"))))
        for path, w in zip(
            distinct_paths(chosen),
            map(ops.convert_to_tensor, chosen),
            strict=True,
        )
    }


def unfreeze_support(model: keras.Model) -> list[str]:
    """Undo `freeze_support`: zeros may move and penalties act again.

    The optimizer's momenta and second moments are cleared at the zeros once
    more, so that these entries start from rest.

    Args:
        model: a `keras.Model`.

    Returns:
        The paths of the weights that were frozen; empty if there were none.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(
    ...     1, kernel_regularizer=kreg.L1(), name="last")], name="net")
    >>> frozen = kreg.freeze_support(model)
    >>> kreg.unfreeze_support(model)
    ['net/last/kernel']
    >>> kreg.unfreeze_support(model)
    []
    """
    optimizers = ensure_bound(model).optimizers
    frozen = [v for v in model.weights if isinstance(v.constraint, KeepSupport)]
    for variable in frozen:
        _forget_at_zeros(optimizers, variable)
        variable.constraint = variable.constraint.constraint
        _suspend(variable, False)
    renew_models_of(frozen)
    return distinct_paths(frozen)


def _is_penalized(variable: keras.Variable) -> bool:
    return isinstance(variable.regularizer, BoundRegularizer)


def _suspend(variable: keras.Variable, suspended: bool) -> None:
    if _is_penalized(variable):
        variable.regularizer.suspended = suspended


def _refuse_averages(
    optimizers: WeightOptimizers, variables: Sequence[keras.Variable]
) -> None:
    """Raise if Keras's moving averages would undo the zeros.

    Keras computes them before it applies constraints.
    """
    for variable in variables:
        optimizer = optimizers.of(id(variable))
        inner = innermost_optimizer(optimizer)
        if inner is None or penalty_applier(optimizer) is not None:
            continue
        if any(part.use_ema for part in member_optimizers(inner)):
            raise ValueError(
                "`model` must not have an optimizer that replaces weights by "
                "their moving averages, which are not zero. Wrap it in "
                "`kreg.ProximalOptimizer`, which keeps zeros, or leave out "
                f"`use_ema`. Received: optimizer={inner!r} with use_ema=True"
            )


def _forget_at_zeros(
    optimizers: WeightOptimizers, variable: keras.Variable
) -> None:
    """Clear the optimizer's slots of `variable` where it is zero."""
    optimizer = innermost_optimizer(optimizers.of(id(variable)))
    if optimizer is None or not optimizer.built:
        return
    support: KeepSupport = variable.constraint
    for slot in slots(responsible_optimizer(optimizer, variable), variable):
        slot.assign(support.kept(ops.convert_to_tensor(slot)))
