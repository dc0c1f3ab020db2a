"""Linear models trained to their minimum, in few calls of Python."""

import keras

import kreg

BACKEND = keras.backend.backend()


def trained_weights(
    optimizer,
    penalty,
    x,
    y,
    *,
    steps,
    loss="mse",
    intercept=False,
    activation=None,
    constraint=None,
    initializer="glorot_uniform",
):
    """The kernel, and the bias if any, of a linear model after training.

    Args:
        optimizer: what goes into a ProximalOptimizer.
        penalty: the regularizer of the kernel.
        x: the rows.
        y: their targets.
        steps: the number of updates.
        loss: the loss.
        intercept: whether there is a bias.
        activation: the activation of the outputs.
        constraint: the constraint of the kernel.
        initializer: the start of the kernel.
    """
    y = y.reshape(len(y), -1)
    layer = keras.layers.Dense(
        y.shape[1],
        activation,
        use_bias=intercept,
        kernel_regularizer=penalty,
        kernel_constraint=constraint,
        kernel_initializer=initializer,
    )
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    kreg.bind(model)
    model.compile(
        kreg.ProximalOptimizer(optimizer),
        loss,
        steps_per_execution=100 if BACKEND != "torch" else 1,
    )
    fit_steps(model, x, y, steps)
    return model.get_weights()


def fit_steps(model, x, y, steps, parts=1):
    """Train for `steps` batches in one epoch.

    Args:
        model: a compiled model.
        x: the rows, or a tuple of arrays of rows.
        y: their targets.
        steps: the number of batches.
        parts: the number of batches of equal size that hold all rows.
    """
    size = len(y) // parts
    if BACKEND == "tensorflow":
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(size)
        batches = batches.cache().repeat().take(steps)
        model.fit(batches, shuffle=False, verbose=0)
        return
    rows = [slice(i * size, (i + 1) * size) for i in range(parts)]
    several = isinstance(x, tuple)
    cycle = [(tuple(a[r] for a in x) if several else x[r], y[r]) for r in rows]
    model.fit(
        (cycle[step % parts] for step in range(steps)),
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
    )
