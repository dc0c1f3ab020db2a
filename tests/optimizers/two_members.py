"""A linear model in two parts, which two optimizers train."""

import keras

import kreg


def of_two_members(names, members, strength, **compiled):
    """A bound model whose parts read four inputs each.

    Args:
        names: the names of its layers.
        members: the `OptimizerMap` that tells them apart.
        strength: that of the L1 penalty on both kernels.
        compiled: further arguments of `compile`.
    """
    inputs = [keras.Input((4,)) for _ in names]
    parts = [
        keras.layers.Dense(
            1,
            use_bias=False,
            name=name,
            kernel_initializer="zeros",
            kernel_regularizer=kreg.L1(strength),
        )(x)
        for name, x in zip(names, inputs, strict=True)
    ]
    model = keras.Model(inputs, keras.layers.Add()(parts))
    kreg.bind(model)
    several = keras.optimizers.MultiOptimizer(members)
    model.compile(kreg.ProximalOptimizer(several), "mse", **compiled)
    return model
