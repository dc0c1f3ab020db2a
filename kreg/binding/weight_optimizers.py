"""Which optimizer updates each weight of a model, as far as is known."""

import inspect
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any, TypeAlias
from weakref import WeakSet

import keras
from keras import ops

from kreg._keras_private import built_variables, flatten_layers
from kreg._types import Tensor
from kreg.foreign_objects import float_or_nan

Optimizer: TypeAlias = keras.optimizers.Optimizer


class WeightOptimizers:
    """The optimizer of each weight of a model.

    Optimizers that the user named in `bind` come first. Keras's own
    `train_step` updates all weights with `model.optimizer`. A `train_step`
    written by the user may use other optimizers, held as attributes of the
    model or of a layer. Such an optimizer is taken to update a weight once it
    is built for that weight. A weight that the model does not train may be
    updated by an outer model.

    Args:
        model: the model; it is held weakly.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)
        self._fitted: Optimizer | None = None
        self._around: WeightOptimizers | None = None
        self._near: list[Optimizer] = []
        self._sizes: dict[int, int] = {}
        # In the following, None stands for the optimizer that the model is
        # compiled with at the time.
        self._parts: list[tuple[weakref.ref[Any], Optimizer | None]] = []
        self._assigned: dict[int, Optimizer | None] = {}
        self._updating: dict[int, Optimizer | None] = {}
        self._leading: list[Optimizer | None] = [None]
        self._unknown: set[int] = set()

    @property
    def own(self) -> Optimizer | None:
        """The optimizer that the model is compiled with; None without one."""
        return getattr(self._model(), "optimizer", None)

    def __contains__(self, weight: int) -> bool:
        """Whether the variable with this `id` was a weight in the last look."""
        return weight in self._updating or weight in self._unknown

    def of(self, weight: int) -> Optimizer | None:
        """The optimizer that updates a weight; None if none is known.

        Args:
            weight: the `id` of the variable.
        """
        if weight in self._unknown:
            self.look_at_built()
        if weight in self._unknown:
            return None
        return self._updating.get(weight) or self.own

    def step_of(self, weight: int) -> Tensor:
        """The number of updates of a weight; of the model if not known."""
        optimizer = self.of(weight)
        return self.step() if optimizer is None else optimizer.iterations

    def is_assigned(self, weight: int) -> bool:
        """Whether the user said in `bind` which optimizer updates a weight."""
        return weight in self._assigned

    @property
    def are_known(self) -> bool:
        """Whether an optimizer is known that has been built for a weight."""
        return bool(self._updating) and any(o.built for o in self.leading)

    @property
    def leading(self) -> list[Optimizer]:
        """The optimizers whose largest number of updates is the model's step.

        This is `model.optimizer` alone, unless it updates none of the weights
        and others do.
        """
        optimizers = (optimizer or self.own for optimizer in self._leading)
        return [o for o in optimizers if o is not None]

    def step(self) -> Tensor:
        """The number of updates of the model; 0 without an optimizer."""
        steps = [optimizer.iterations for optimizer in self.leading]
        if len(steps) > 1:
            return ops.max(ops.stack([ops.cast(s, "int32") for s in steps]))
        return steps[0] if steps else 0

    def assign(self, parts: Mapping[keras.layers.Layer, Optimizer]) -> bool:
        """Replace the optimizers that the user has named.

        Args:
            parts: the optimizer of each part of the model; where parts overlap,
                the last one counts.

        Returns:
            Whether this changes anything.
        """
        before = self._assigned
        self._parts = [(weakref.ref(part), o) for part, o in parts.items()]
        self.look()
        return self._assigned != before

    def begin_training(self) -> None:
        """Look anew before `fit`.

        With Keras's own `train_step`, optimizers named for a custom loop are
        forgotten.
        """
        model = self._model()
        if model is not None and is_trained_by_keras(model):
            self._parts = []
            self._fitted = self.own
        self.look()

    def look(self, around: "WeightOptimizers | None" = None) -> None:
        """Look anew at the weights and at the optimizers of the model.

        Args:
            around: the optimizers of an outer model that trains the weights of
                this one. Defaults to `None`: there is none.
        """
        self._around = around
        model = self._model()
        if model is not None:
            self._near = optimizers_of(model)
            self._sizes = {}
            # The optimizer that the model is compiled with now also stands for
            # those of later calls of `compile`.
            self._parts = [
                (part, None if innermost(o) is innermost(self.own) else o)
                for part, o in self._parts
            ]
            self._assigned = {
                id(variable): optimizer
                for part, optimizer in self._parts
                for variable in getattr(part(), "weights", ())
            }
            self._resolve(model)

    def look_at_built(self) -> bool:
        """Look at optimizers built since the last look; cheap if none was.

        Returns:
            Whether the optimizer of a weight, or the model's step, has changed.
        """
        model = self._model()
        if model is None or _sizes(self._near) == self._sizes:
            return False
        before, leading = self._updating, self._leading
        self._resolve(model)
        return self._leading != leading or any(
            before.get(weight) is not optimizer
            for weight, optimizer in self._updating.items()
        )

    def _resolve(self, model: keras.Model) -> None:
        sizes = _sizes(self._near)
        new = {
            key
            for key, size in sizes.items()
            if self._sizes and self._sizes.get(key) != size
        }
        self._sizes = sizes
        by_keras, own = is_trained_by_keras(model), self.own
        others = [other for other in _of_bound_models if other is not self]
        near = _Holders(self._near, new)
        far = _Holders(
            chain(
                inner_optimizers_of(model),
                chain.from_iterable(other._near for other in others),
            )
        )
        self._updating, self._unknown = {}, set()
        for variable in model.weights:
            optimizer = self._updates(variable, near, far, others, by_keras)
            if optimizer is None:
                self._unknown.add(id(variable))
            else:
                self._updating[id(variable)] = (
                    None if optimizer is own else optimizer
                )
        trained = [id(v) for v in model.trainable_weights]
        leading = {
            id(self._updating[weight]): self._updating[weight]
            for weight in trained
            if weight in self._updating
        }
        assigned = [optimizer for _, optimizer in self._parts]
        self._leading = list(leading.values()) or assigned or [None]
        if None in self._leading:
            self._leading = [None]

    def _updates(
        self,
        variable: keras.Variable,
        near: "_Holders",
        far: "_Holders",
        others: list["WeightOptimizers"],
        by_keras: bool,
    ) -> Optimizer | None:
        """The optimizer that updates a weight; None if none is known.

        Args:
            variable: the weight.
            near: for which weights the optimizers were built that the model's
                own `train_step` may use.
            far: the same for optimizers of inner models and of other models.
            others: the optimizers of other models.
            by_keras: whether `train_step` is Keras's own.
        """
        weight, own = id(variable), self.own
        if self._around is not None and weight in self._around:
            return self._around.of(weight)
        if weight in self._assigned:
            return self._assigned[weight] or own
        other = next((o for o in others if weight in o._assigned), None)
        will_build = own is not None and not own.built
        if by_keras and own is not None and near.holds(own, weight):
            return own
        if (
            by_keras
            and will_build
            and variable.trainable
            and (other is None or self._fitted is own)
        ):
            return own
        if other is not None:
            return other._assigned[weight] or other.own
        holder = near.last(weight)
        if holder is not None:
            return holder
        if will_build and (by_keras or len(self._near) == 1):
            return own
        return far.last(weight) or (own if by_keras else None)


_of_bound_models: WeakSet[WeightOptimizers] = WeakSet()


def join_bound_models(optimizers: WeightOptimizers, joins: bool) -> None:
    """Make a bound model's optimizers visible to other models, or hide them."""
    (_of_bound_models.add if joins else _of_bound_models.discard)(optimizers)


class _Holders:
    """Optimizers by the weights that they were built for.

    Args:
        optimizers: the optimizers. If several hold a weight, the first counts
            if it has made updates, and otherwise the one with most updates.
        new: the `id`s of the optimizers that were just built; they come first.
    """

    def __init__(
        self, optimizers: Iterable[Optimizer], new: Collection[int] = ()
    ) -> None:
        self._new = new
        self._holders: dict[int, list[Optimizer]] = {}
        for optimizer in optimizers:
            if optimizer.built:
                for variable in built_variables(optimizer):
                    holders = self._holders.setdefault(id(variable), [])
                    if all(held is not optimizer for held in holders):
                        holders.append(optimizer)

    def holds(self, optimizer: Optimizer, weight: int) -> bool:
        """Whether `optimizer` was built for a weight."""
        return any(o is optimizer for o in self._holders.get(weight, ()))

    def last(self, weight: int) -> Optimizer | None:
        """The optimizer that updated a weight last, or None."""
        holders = self._holders.get(weight, [])
        if len(holders) < 2:
            return holders[0] if holders else None
        return max(holders, key=partial(self._rank, holders[0]))

    def _rank(self, first: Optimizer, optimizer: Optimizer) -> Any:
        # In a traced step the number of updates cannot be read.
        updates = float_or_nan(optimizer.iterations)
        has_moved = updates > 0.0
        return (
            id(optimizer) in self._new,
            has_moved and optimizer is first,
            updates if has_moved else 0.0,
        )


def _sizes(optimizers: Iterable[Optimizer]) -> dict[int, int]:
    """The number of weights each optimizer was built for; -1 if unbuilt."""
    return {
        id(o): len(built_variables(o)) if o.built else -1 for o in optimizers
    }


def is_trained_by_keras(model: keras.Model) -> bool:
    """Whether `fit` runs Keras's own `train_step`."""
    step: Any = inspect.unwrap(model.train_step)
    return str(getattr(step, "__module__", "")).split(".")[0] == "keras"


def optimizers_of(model: keras.Model) -> list[Optimizer]:
    """The optimizers that a `train_step` of `model` may use, its own first.

    These are attributes of the model and of its layers, also inside lists and
    dicts, but not the optimizers that inner models are compiled with. An
    optimizer inside a wrapper is listed as the wrapper.
    """
    by_id: dict[int, Optimizer] = {}
    own: object = getattr(model, "optimizer", None)
    if isinstance(own, keras.optimizers.Optimizer):
        by_id[id(own)] = own
    for layer in flatten_layers(model):
        for name, value in list(vars(layer).items()):
            if name == "optimizer" and isinstance(layer, keras.Model):
                continue
            for item in _items(value):
                if isinstance(item, keras.optimizers.Optimizer):
                    by_id.setdefault(id(item), item)
    inside = {id(i) for o in by_id.values() for i in _optimizers_inside(o)}
    return [o for o in by_id.values() if id(o) not in inside]


def inner_optimizers_of(model: keras.Model) -> list[Optimizer]:
    """The optimizers that models inside `model` are compiled with."""
    optimizers: list[object] = [
        getattr(layer, "optimizer", None)
        for layer in flatten_layers(model)
        if isinstance(layer, keras.Model) and layer is not model
    ]
    return [o for o in optimizers if isinstance(o, keras.optimizers.Optimizer)]


def innermost(optimizer: Any) -> Any:
    """The optimizer inside all wrappers around one optimizer."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _optimizers_inside(optimizer: Any) -> Iterator[Optimizer]:
    parts: list[object] = [
        getattr(optimizer, "inner_optimizer", None),
        *(getattr(optimizer, "optimizers", None) or ()),
    ]
    for part in parts:
        if isinstance(part, keras.optimizers.Optimizer):
            yield part
            yield from _optimizers_inside(part)


def _items(value: object) -> Iterable[object]:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, dict):
        return value.values()
    return (value,)
