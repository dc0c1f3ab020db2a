"""Linear models for tests of selection."""

import keras


def linear(num_features, outputs=1, learning_rate=0.05):
    """A least-squares model that full batches solve."""
    model = keras.Sequential(
        [keras.Input((num_features,)), keras.layers.Dense(outputs)]
    )
    sgd = keras.optimizers.SGD(learning_rate, momentum=0.9)
    model.compile(sgd, "mse")
    return model


def slow_linear(num_features):
    """The same for features that are correlated."""
    return linear(num_features, learning_rate=0.02)


def logistic(num_features):
    """A logistic regression."""
    model = keras.Sequential(
        [
            keras.Input((num_features,)),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(sgd, "binary_crossentropy")
    return model
