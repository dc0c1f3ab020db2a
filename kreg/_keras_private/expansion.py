"""Running the code of a layer so that the calls in it replace the layer."""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import keras.src.layers.layer as layer_module
import keras.src.ops as private_ops
from keras import ops, tree
from keras.utils import is_keras_tensor

from kreg._keras_private.layers import flatten_layers, own_variables
from kreg._keras_private.open_sizes import (
    OF_OPEN_SIZES,
    are_open,
    broadcast_to,
    get_item,
    open_shape,
    reshape,
    tile,
)
from kreg._keras_private.patching import patched, restore_attributes

# Operations with an argument for the sizes of their output: the name of this
# argument, and the function for open sizes.
_SIZE_ARGUMENTS = {
    "Reshape": ("newshape", reshape),
    "BroadcastTo": ("shape", broadcast_to),
    "Tile": ("repeats", tile),
}


@contextmanager
def expanded(
    layer: keras.layers.Layer,
    replacement: Callable[[keras.layers.Layer], Callable[..., Any] | None],
    symbolic: Callable[[Any], Any],
    changed: Callable[[Any, int], Any] = lambda operation, place: operation,
    read: Collection[int] = (),
) -> Iterator[None]:
    """Replace symbolic calls of `layer` by the calls inside its `call`.

    While the block runs, a call of `layer` on symbolic tensors adds the layers
    and operations that its code calls to the graph, but not the layer. The
    code may use sizes that are None for shapes, masks and positions.

    Args:
        layer: a layer that calls others.
        replacement: returns what is called in the place of a layer inside it;
            None to call that layer.
        symbolic: returns a symbolic tensor for a variable of the layer, or for
            an array on which it calls a layer inside it.
        changed: takes an operation, and how many operations the layer has
            called before. Returns what is called in its place. Defaults to the
            operation itself.
        read: the `id`s of variables that belong to layers inside the layer,
            and that its code uses, too. Defaults to none.

    Raises:
        ValueError: by the call of `layer`, if its code uses sizes or weights in
            a way that no graph can express.
    """
    with _Expansion(layer, replacement, symbolic, changed, read).patches():
        yield


class _Expansion:
    """Replaces what the code of one layer calls, in one thread.

    All other code runs as usual, as that of the layers that it calls.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        replacement: Callable[[keras.layers.Layer], Callable[..., Any] | None],
        symbolic: Callable[[Any], Any],
        changed: Callable[[Any, int], Any],
        read: Collection[int],
    ) -> None:
        self._layer, self._replacement = layer, replacement
        self._read = read
        self._symbolic, self._changed = symbolic, changed
        self._own = {id(v) for v in own_variables(layer)}
        self._thread = threading.get_ident()
        self._code_runs = False
        self._place = 0
        # Tensors that depend on sizes or constants alone, by their `id`. They
        # are held so that no other tensor gets the same `id`.
        self._of_sizes: dict[int, Any] = {}

    def patches(self) -> ExitStack:
        """Replace methods and functions of Keras, until the stack is closed."""
        stack = ExitStack()
        layer, operation = keras.layers.Layer, keras.Operation
        for owner, name, value in (
            (layer, "__call__", self._layer_call(layer.__call__)),
            (layer, "symbolic_call", self._inner_call(layer.symbolic_call)),
            (layer_module, "Node", self._node(layer_module.Node)),
            (
                operation,
                "symbolic_call",
                self._operation_call(operation.symbolic_call),
            ),
            (layer, "add_loss", self._adding_loss(layer.add_loss)),
            (keras.Variable, "value", self._reading(keras.Variable.value)),
            (keras.KerasTensor, "shape", self._shape(keras.KerasTensor.shape)),
        ):
            stack.enter_context(patched(owner, name, value))
        for module in (ops, private_ops):
            for name, function in self._functions(module).items():
                stack.enter_context(patched(module, name, function))
        return stack

    def _is_here(self) -> bool:
        """Whether it is the code of the layer that runs."""
        return self._code_runs and threading.get_ident() == self._thread

    @contextmanager
    def _code(self, runs: bool) -> Iterator[None]:
        """Tell in a block whether the code of the layer runs, or other code."""
        before, self._code_runs = self._code_runs, runs
        try:
            yield
        finally:
            self._code_runs = before

    def _layer_call(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(part: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._is_here():
                return original(part, *args, **kwargs)
            other = self._replacement(part)
            with self._code(runs=False):
                tensors = tree.flatten((args, kwargs))
                on_arrays = not any(map(is_keras_tensor, tensors))
                if on_arrays:
                    # On arrays alone, its outputs would be constants.
                    args = tree.map_structure(self._symbolic, args)
                outputs = (
                    original(part, *args, **kwargs)
                    if other is None
                    else other(*args, **kwargs)
                )
            if on_arrays and not part.weights:
                return self._noted_as_sizes(outputs)
            return outputs

        return call

    def _inner_call(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def symbolic_call(part: Any, *args: Any, **kwargs: Any) -> Any:
            if part is self._layer:
                return self._run(*args, **kwargs)
            return original(part, *args, **kwargs)

        return symbolic_call

    def _node(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def node(operation: Any, **arguments: Any) -> Any:
            if operation is self._layer:
                return None
            return original(operation=operation, **arguments)

        return node

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the code of the layer, with tensors in the place of weights."""
        layer, attributes = self._layer, vars(self._layer)
        before = dict(attributes)
        attributes.update(self._tensors_of(before))
        inside = [vars(part) for part in flatten_layers(layer)[1:]]
        read = [self._tensors_of(values, self._read) for values in inside]
        variables = [
            {name: values[name] for name in tensors}
            for values, tensors in zip(inside, read, strict=True)
        ]
        for values, tensors in zip(inside, read, strict=True):
            values.update(tensors)
        self._place = 0
        quantized = getattr(layer, "quantization_mode", None)
        call = layer.quantized_call if quantized else layer.call
        try:
            with self._code(runs=True):
                return call(*args, **kwargs)
        finally:
            restore_attributes(attributes, before)
            for values, own in zip(inside, variables, strict=True):
                values.update(own)

    def _tensors_of(
        self, attributes: dict[str, Any], chosen: Collection[int] | None = None
    ) -> dict[str, Any]:
        """Symbolic tensors for the attributes that are variables.

        Args:
            attributes: the attributes of a layer.
            chosen: the `id`s of the variables to replace. Defaults to all.
        """
        return {
            name: self._tensor(value)
            for name, value in attributes.items()
            if isinstance(value, keras.Variable)
            and (chosen is None or id(value) in chosen)
        }

    def _tensor(self, value: Any) -> Any:
        """The symbolic tensor for a variable; any other value as it is."""
        if not isinstance(value, keras.Variable):
            return value
        if id(value) not in self._own and id(value) not in self._read:
            raise ValueError(f"it uses `{value.path}` of a layer inside it")
        with self._code(runs=False):
            return self._symbolic(value)

    def _operation_call(
        self, original: Callable[..., Any]
    ) -> Callable[..., Any]:
        def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._is_here():
                return original(operation, *args, **kwargs)
            args, kwargs = tree.map_structure(self._tensor, (args, kwargs))
            kind = type(operation).__name__
            if kind == "GetItem" and not isinstance(args[1], int | tuple):
                # Its rule for shapes takes slices in a tuple only.
                args = args[0], (args[1],)
            of_sizes = all(
                id(tensor) in self._of_sizes
                for tensor in tree.flatten((args, kwargs))
                if is_keras_tensor(tensor)
            )
            if not of_sizes:
                operation = self._changed(operation, self._place)
                self._place += 1
            with self._code(runs=False):
                name, with_open = _SIZE_ARGUMENTS.get(kind, ("", None))
                sizes = getattr(operation, name, ())
                if with_open is not None and are_open(sizes):
                    outputs = with_open(args[0], sizes)
                elif kind == "GetItem" and are_open(args[1]):
                    outputs = get_item(*args)
                else:
                    outputs = original(operation, *args, **kwargs)
            return self._noted_as_sizes(outputs) if of_sizes else outputs

        return symbolic_call

    def _noted_as_sizes(self, outputs: Any) -> Any:
        self._of_sizes.update((id(t), t) for t in tree.flatten(outputs))
        return outputs

    def _adding_loss(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def add_loss(layer: Any, loss: Any) -> Any:
            if self._is_here():
                raise ValueError("it adds a loss")
            return original(layer, loss)

        return add_loss

    def _reading(self, original: Any) -> property:
        def value(variable: Any) -> Any:
            if self._is_here():
                raise ValueError(
                    f"it uses `{variable.path}` in a way that does not show"
                )
            return original.__get__(variable)

        return property(value)

    def _shape(self, original: Any) -> property:
        def shape(tensor: Any) -> tuple[Any, ...]:
            sizes: tuple[Any, ...] = original.__get__(tensor)
            return open_shape(tensor, sizes) if self._is_here() else sizes

        return property(shape)

    def _functions(self, module: Any) -> dict[str, Callable[..., Any]]:
        """Functions that take the place of Keras's, and take open sizes."""
        return {
            "reshape": self._taking_open_sizes(module.reshape, "Reshape"),
            "broadcast_to": self._taking_open_sizes(
                module.broadcast_to, "BroadcastTo"
            ),
            **{
                name: self._without_tensor(getattr(module, name), with_open)
                for name, with_open in OF_OPEN_SIZES.items()
            },
        }

    def _taking_open_sizes(
        self, original: Callable[..., Any], kind: str
    ) -> Callable[..., Any]:
        def function(x: Any, *args: Any, **kwargs: Any) -> Any:
            (sizes,) = (*args, *kwargs.values())
            if self._is_here() and are_open(sizes):
                if not is_keras_tensor(x):
                    with self._code(runs=False):
                        return self._noted_as_sizes(
                            _SIZE_ARGUMENTS[kind][1](x, sizes)
                        )
                operation = getattr(private_ops.numpy, kind)(tuple(sizes))
                return operation.symbolic_call(x)
            return original(x, sizes)

        return function

    def _without_tensor(
        self, original: Callable[..., Any], with_open: Callable[..., Any]
    ) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            arguments = (*args, *kwargs.values())
            if self._is_here() and any(map(are_open, arguments)):
                with self._code(runs=False):
                    return self._noted_as_sizes(with_open(*args, **kwargs))
            return original(*args, **kwargs)

        return function


def stored_dtype(variable: keras.Variable) -> str:
    """The type in which a variable is stored, even where layers cast it."""
    dtype: str = variable._dtype
    return dtype
