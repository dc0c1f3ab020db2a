"""`ProximalOptimizer`: takes proximal steps after an optimizer's updates."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import wraps
from typing import Any, Self

import keras
from keras import ops
from keras.optimizers import Optimizer

from kreg._arguments import nonempty_text, refuse_unknown_keys, wrong_value
from kreg._keras_private import added_variables, built_variables, drop_state
from kreg._types import Tensor
from kreg.binding import BoundPenalty
from kreg.binding.binding import PenaltyApplier, member_optimizers
from kreg.optimizers._clipping import (
    clipped_fractions,
    fraction_averages,
)
from kreg.optimizers._past_rates import (
    pending_rates,
    pending_step_averages,
    rate_averages,
    step_averages,
)
from kreg.optimizers._pending_steps import pending_steps
from kreg.optimizers._proximal_step import (
    constraints_put_off,
    project_averages,
    take_proximal_steps,
)
from kreg.optimizers._terms import terms_of
from kreg.optimizers.table import effective_step_rule
from kreg.regularizers.norms import is_complex


def _forwarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Forward a method to the inner optimizer's method of the same name."""

    @wraps(method)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = self.inner_optimizer
        return getattr(inner, method.__name__)(*args, **kwargs)

    return forward


@keras.saving.register_keras_serializable(package="kreg")
class ProximalOptimizer(PenaltyApplier, Optimizer):
    """Takes each penalty's proximal step after an optimizer's update.

    Under Keras's optimizers an L1 penalty makes weights small, never zero.
    Under this optimizer zeros are exactly 0.0, and training ends at a minimum
    of the data loss plus the penalties. The gradient is that of the data loss
    and of penalties on activities; the reported loss still includes the
    penalties on weights.

    Formula, for each weight with a kreg penalty: `w <- inner update of w`, then
    `w <- argmin over u of penalty(u) + sum((u - w) ** 2 / (2 * t))`, where `t`
    is the effective step of that weight under the inner optimizer, such as
    `learning_rate / (1 - momentum)` for SGD. A changing learning rate is
    averaged over past updates in the same way as in the momentum; so is the
    step of `RMSprop(centered=True)`. If the
    penalty is not convex, such as `MCP`, both update and proximal step are
    shortened where momentum would make weights oscillate forever.

    If the inner optimizer clips gradients, `t` is multiplied by the fraction of
    the gradient that is left, averaged as its momentum averages gradients.
    Clipping then weights the batches by these fractions, and the penalty with
    them; likewise the parts of a batch that several devices clip on their own.
    So training ends at the minimum of the unclipped loss only if all batches
    are clipped alike, as with a single batch of all rows.

    A `constraint` of the weight is applied after the proximal step. Training
    ends at a minimum under the constraint if this is `NonNeg`, a bound on
    entries under a penalty on entries, or a norm over the entries of whole
    groups. Under other constraints it ends near a minimum, the nearer the lower
    the learning rate. Under an adaptive optimizer a constraint on norms holds,
    but the end is not a minimum; this is the same in Keras alone.

    Weights without a kreg penalty are updated by the inner optimizer alone;
    Keras's own regularizers stay in the gradient. Every kreg penalty on a
    weight that it updates must be bound: by `kreg.bind(model)` or a kreg
    callback, in a custom loop by `kreg.bind(model, optimizer)`. If one is not
    bound, the first step raises an error before a weight changes. A model that
    was loaded or cloned is a new object and not bound.

    All settings belong to the inner optimizer, and can be read and set on
    either: `learning_rate`, `clipnorm`, `weight_decay`, `momentum` and so on.
    Those of a `MultiOptimizer` are set on its members, `optimizer.optimizers`.

    Args:
        inner_optimizer: a `keras.optimizers.Optimizer` or the name of one:
            SGD, Adam, AdamW, Nadam, Adamax, RMSprop, Adagrad, Adadelta,
            ScheduleFreeAdamW (JAX), one registered with
            `kreg.optimizers.register_optimizer`, or a `MultiOptimizer`. Give
            `RMSprop(centered=True)` an `epsilon` of about 1e-3: it divides by
            a standard deviation, which is 0 or NaN by rounding where gradients
            are constant, as those of weights at rest under a penalty.
        name: the name of the optimizer. Defaults to `"proximal_optimizer"`.

    Raises:
        TypeError: if `inner_optimizer` is not an optimizer.
        ValueError: if its effective step is unknown, or if it overwrites
            weights by their moving averages during training.

    Example:

    >>> import keras, kreg, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(64, 5))
    >>> y = x[:, :1] - 2.0 * x[:, 1:2]  # the other three inputs are noise
    >>> layer = keras.layers.Dense(1, kernel_regularizer=kreg.L1(0.2))
    >>> model = keras.Sequential([keras.Input((5,)), layer])
    >>> adam = keras.optimizers.Adam(0.05)
    >>> model.compile(kreg.ProximalOptimizer(adam), "mse")
    >>> binding = kreg.bind(model)
    >>> history = model.fit(x, y, batch_size=64, epochs=100, verbose=0)
    >>> (model.get_weights()[0].ravel() == 0.0).tolist()
    [False, False, True, True, True]

    References:
        Parikh and Boyd, "Proximal Algorithms", Foundations and Trends in
        Optimization 1(3), 2014, section 4.2. Yun, Lozano and Yang, "Adaptive
        Proximal Gradient Methods for Structured Neural Networks", NeurIPS
        2021, for the steps of adaptive optimizers.
    """

    built: bool
    fraction_averages: Sequence[keras.Variable | None]
    rate_averages: Mapping[int, keras.Variable]
    step_averages: Sequence[keras.Variable | None]

    def __init__(
        self,
        inner_optimizer: Optimizer | str,
        name: str = "proximal_optimizer",
    ) -> None:
        inner = _checked_optimizer(inner_optimizer)
        name = nonempty_text("name", name)
        super().__init__(learning_rate=0.0, name=name)
        # Otherwise this state would hide that of the inner optimizer.
        drop_state(self)
        self.inner_optimizer = inner

    def __getattr__(self, name: str) -> Any:
        inner = vars(self).get("inner_optimizer")
        if inner is None or name.startswith("__"):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            )
        return getattr(inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        inner = vars(self).get("inner_optimizer")
        if (
            inner is None
            or name in vars(self)
            or hasattr(type(self), name)
            or not hasattr(inner, name)
        ):
            super().__setattr__(name, value)
            return
        if name == "ema_overwrite_frequency":
            _refuse_overwriting(value)
        if name in vars(inner) and not name.startswith("_"):
            _refuse_of_several(inner, name, value)
        setattr(inner, name, value)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the inner optimizer's variables.

        Args:
            variables: the trainable variables of a model.
        """
        if self.built:
            return
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(list(variables))
        self.fraction_averages = fraction_averages(self, self.inner_optimizer)
        self.rate_averages = rate_averages(self, self.inner_optimizer)
        self.step_averages = step_averages(self, self.inner_optimizer)
        self.built = True

    def apply(
        self,
        grads: Sequence[Tensor],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Update the variables, then take the proximal steps.

        Args:
            grads: the gradients of the data loss, one for each variable.
            trainable_variables: the variables. Defaults to those that the
                optimizer was built for.

        Raises:
            ValueError: before anything is changed, if a penalty was not bound
                when the gradient was taken, or is bound to another optimizer.
            TypeError: before anything is changed, if a weight with a penalty
                is complex.
        """
        with self._proximal_steps(grads, trainable_variables):
            self.inner_optimizer.apply(grads, trainable_variables)

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Tensor, keras.Variable]]
    ) -> Tensor:
        """Update the variables, then take the proximal steps.

        It calls the inner optimizer's `apply_gradients`. Keras's own only calls
        `apply`, but that of a subclass may do more.

        Args:
            grads_and_vars: pairs of a gradient and its variable.

        Returns:
            The number of updates.
        """
        pairs = list(grads_and_vars)
        grads, variables = [g for g, _ in pairs], [v for _, v in pairs]
        with self._proximal_steps(grads, variables):
            self.inner_optimizer.apply_gradients(pairs)
        return self.iterations

    @contextmanager
    def _proximal_steps(
        self,
        grads: Sequence[Tensor],
        trainable_variables: Sequence[keras.Variable] | None,
    ) -> Iterator[None]:
        """Take the proximal steps after the update made in the block."""
        if trainable_variables is None:
            variables = built_variables(self)
        else:
            variables = list(trainable_variables)
        terms = terms_of(variables, self)
        for term in terms:
            for variable in term.variables:
                _refuse_complex(variable)
        if not self.built:
            self.build(variables)
        inner = self.inner_optimizer
        updated = [
            variable
            for gradient, variable in zip(grads, variables, strict=True)
            if gradient is not None
        ]
        rates = pending_rates(self.rate_averages, inner, updated)
        averages = pending_step_averages(self.step_averages, inner, updated)
        built_ids = map(id, built_variables(self))
        steps = pending_steps(
            terms,
            self.inner_optimizer,
            clipped_fractions(self.inner_optimizer, grads, variables),
            dict(zip(built_ids, self.fraction_averages, strict=True)),
            rates,
            _sparse_gradients(grads, variables),
        )
        with constraints_put_off(steps):
            yield
        averaged = {key: each.assign() for key, each in averages.items()}
        take_proximal_steps(steps, averaged)
        for pending in rates.values():
            pending.assign()
        project_averages(variables, steps, self.inner_optimizer)

    def finalize_variable_values(
        self, var_list: Sequence[keras.Variable]
    ) -> None:
        """Let the inner optimizer set final values, and keep the zeros.

        With `use_ema` the final values are moving averages. For a weight with a
        kreg penalty, they are zero where the weight was zero after the last
        update or is zero now. Constraints are applied to the averages, too.

        Args:
            var_list: the variables.
        """
        if not any(o.use_ema for o in member_optimizers(self.inner_optimizer)):
            self.inner_optimizer.finalize_variable_values(var_list)
            return
        penalized = [
            (variable, ops.equal(ops.convert_to_tensor(variable), 0.0))
            for variable in var_list
            if isinstance(variable.regularizer, BoundPenalty)
        ]
        self.inner_optimizer.finalize_variable_values(var_list)
        for variable, zero in penalized:
            average = ops.convert_to_tensor(variable)
            variable.assign(ops.where(zero, ops.zeros_like(average), average))
        for variable in var_list:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of the inner optimizer, then those that this one adds.

        If there is momentum, these are averages over past updates: of the
        fractions that clipping leaves of gradients, of learning rates, and of
        effective steps that change fast.
        """
        return [*self.inner_optimizer.variables, *added_variables(self)]

    @property
    def iterations(self) -> Tensor:
        """The number of updates."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Tensor:
        """The learning rate of the inner optimizer; may be set."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[keras.Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Exclude weights from the inner optimizer's weight decay.

        Args:
            var_list: the weights to exclude.
            var_names: strings; a weight whose name has one in it is excluded.
        """
        _refuse_of_several(
            self.inner_optimizer, "exclude_from_weight_decay", var_names
        )
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        """Refused: an update without its proximal step would be wrong."""
        raise NotImplementedError(
            "A ProximalOptimizer does not update single variables: call "
            "`apply`, or `inner_optimizer.update_step` for an update without a "
            f"proximal step. Received: variable={variable!r}"
        )

    assign = _forwarded(Optimizer.assign)
    assign_add = _forwarded(Optimizer.assign_add)
    assign_sub = _forwarded(Optimizer.assign_sub)
    scale_loss = _forwarded(Optimizer.scale_loss)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the variables, in the order of `variables`.

        The state of the inner optimizer is enough: the averages that this one
        adds then start anew.
        """
        weights, inner = list(weights), len(self.inner_optimizer.variables)
        if self._lacks_averages(len(weights)):
            weights[inner:inner] = [ops.zeros(v.shape) for v in self._averages]
        self.inner_optimizer.set_weights(weights[:inner])
        added = added_variables(self)
        for variable, weight in zip(added, weights[inner:], strict=True):
            variable.assign(weight)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Set the variables from a file, as `set_weights` does."""
        if self._lacks_averages(len(store)):
            self.set_weights([store[str(i)] for i in range(len(store))])
        else:
            super().load_own_variables(store)

    def _lacks_averages(self, count: int) -> bool:
        """Whether `count` is the number of variables without the averages."""
        averages = len(self._averages) if self.built else 0
        return averages > 0 and count == len(self.variables) - averages

    @property
    def _averages(self) -> list[keras.Variable]:
        """The averages that this optimizer adds to the inner variables."""
        return [
            *(v for v in self.fraction_averages if v is not None),
            *self.rate_averages.values(),
            *(v for v in self.step_averages if v is not None),
        ]

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"inner_optimizer": inner, "name": self.name}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Any = None
    ) -> Self:
        refuse_unknown_keys(cls, config)
        # A copy, because Keras's optimizers modify the config they load from.
        inner = keras.saving.deserialize_keras_object(
            deepcopy(config["inner_optimizer"]), custom_objects=custom_objects
        )
        return cls(**{**config, "inner_optimizer": inner})


def _checked_optimizer(identifier: Any) -> Optimizer:
    if isinstance(identifier, str):
        try:
            identifier = keras.optimizers.get(identifier)
        except ValueError as error:
            raise wrong_value(
                "inner_optimizer", "the name of an optimizer", identifier
            ) from error
    if not isinstance(identifier, Optimizer):
        raise TypeError(
            "`inner_optimizer` must be a `keras.optimizers.Optimizer` or the "
            f"name of one. Received: inner_optimizer={identifier!r} "
            f"(of type {type(identifier).__name__})"
        )
    # A member of a `MultiOptimizer` needs an effective step only if it updates
    # a weight with a penalty. So it is checked in the first step, not here.
    for part in member_optimizers(identifier):
        _refuse_overwriting(part.ema_overwrite_frequency)
        if isinstance(part, PenaltyApplier):
            raise ValueError(
                "`inner_optimizer` must not take proximal steps itself. One "
                "ProximalOptimizer is enough. "
                f"Received: inner_optimizer={identifier!r}"
            )
        if part is identifier:
            effective_step_rule(part)
    return identifier


def _sparse_gradients(
    grads: Sequence[Any], variables: Sequence[keras.Variable]
) -> set[int]:
    """The `id` of each variable with a sparse gradient, as of embeddings."""
    if keras.backend.backend() != "tensorflow":
        return set()
    from kreg.optimizers import _tensorflow

    pairs = zip(grads, variables, strict=True)
    return {id(v) for g, v in pairs if _tensorflow.is_sparse(g)}


def _refuse_complex(variable: keras.Variable) -> None:
    if is_complex(variable):
        raise TypeError(
            f"The penalty of `{variable.path}` must be on a real weight to "
            "have a proximal step. Keep the real and the imaginary part in two "
            "weights, or compile with the inner optimizer alone, under which "
            "the penalty is a term of the loss. Received: a weight of dtype "
            f"{variable.dtype}"
        )


def _refuse_overwriting(frequency: int | None) -> None:
    if frequency:
        raise ValueError(
            "`inner_optimizer` must not overwrite weights by their moving "
            "averages during training, which undoes zeros: leave "
            "`ema_overwrite_frequency` out. Keras assigns the averages to the "
            "weights when training ends. Received: "
            f"inner_optimizer.ema_overwrite_frequency={frequency}"
        )


def _refuse_of_several(inner: Optimizer, name: str, value: Any) -> None:
    """Raise if setting `name` has no effect on a `MultiOptimizer`."""
    if isinstance(inner, keras.optimizers.MultiOptimizer):
        raise AttributeError(
            f"`{name}` has no effect on a MultiOptimizer. Set it on its "
            "members, which are in `optimizer.optimizers`. "
            f"Received: {name}={value!r}"
        )
