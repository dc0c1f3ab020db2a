"""Layouts of smaller weights while a distribution of Keras is set."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def layouts_that_fit() -> Iterator[None]:
    """Replicate each axis of a new weight that the mesh cannot divide.

    A `keras.distribution.ModelParallel` splits axes of weights over devices.
    Keras raises if the size of an axis is not a multiple of the number of
    devices, which can happen once units have gone. All other axes keep the
    layout that they had in the larger model.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        yield
        return
    layout_of = distribution.get_variable_layout
    # The attribute is set if this context has already been entered.
    before = vars(distribution).get("get_variable_layout")

    def fitting_layout(variable: keras.Variable) -> Any:
        return _fitting(layout_of(variable), tuple(variable.shape))

    distribution.get_variable_layout = fitting_layout
    try:
        yield
    finally:
        if before is None:
            del distribution.get_variable_layout
        else:
            distribution.get_variable_layout = before


def _fitting(layout: Any, shape: tuple[int, ...]) -> Any:
    if not isinstance(layout, keras.distribution.TensorLayout):
        return layout
    mesh = layout.device_mesh
    devices = dict(zip(mesh.axis_names, mesh.shape, strict=True))
    axes = [
        axis if size % devices.get(axis, 1) == 0 else None
        for size, axis in zip(shape, layout.axes, strict=False)
    ]
    return keras.distribution.TensorLayout(axes, mesh)
