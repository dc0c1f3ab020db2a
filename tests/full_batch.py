"""Linear models trained on all rows at once, to their minimum."""

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
    if BACKEND == "tensorflow":
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensors((x, y))
        model.fit(batches.cache().repeat(steps), shuffle=False, verbose=0)
    else:
        batches = ((x, y) for _ in range(steps))
        model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return model.get_weights()
