"""Which models can be read."""

import keras


def refuse_unbuilt(model: object) -> None:
    """Raise if `model` is not a `keras.Model` that has its weights.

    Raises:
        TypeError: if it is not a `keras.Model`.
        ValueError: if it is not built.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a `keras.Model`. "
            f"Received: model={model!r} (of type {type(model).__name__})"
        )
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on data, or `build` it with an "
            f"input shape. Received: model={model!r}, which has no weights yet"
        )
