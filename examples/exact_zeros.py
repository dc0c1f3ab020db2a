"""Exact zeros: which inputs and units does a classifier need?

Keras's L1 makes weights small and none zero. kreg's group penalty under a
proximal optimizer drops whole inputs and units; then the rest trains on
without a penalty, and the zeros stay.

Run with: python exact_zeros.py
"""

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kreg

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    x.astype("float32") / 16, y, test_size=0.5, stratify=y, random_state=0
)
steps = 30 * -(-len(x_train) // 32)


def network(*penalties):
    keras.utils.set_random_seed(0)
    hidden = [
        keras.layers.Dense(64, activation="relu", kernel_regularizer=penalty)
        for penalty in penalties
    ]
    last = keras.layers.Dense(10, activation="softmax")
    return keras.Sequential([keras.Input((64,)), *hidden, last])


def train(model, optimizer, epochs):
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(optimizer, loss, metrics=["accuracy"])
    kreg.bind(model)
    model.fit(x_train, y_train, epochs=epochs, verbose=0)
    print("test accuracy:", model.evaluate(x_test, y_test, verbose=0)[1])


l1 = keras.regularizers.L1(1e-4)
model = network(l1, l1)
train(model, keras.optimizers.Adam(3e-3), epochs=30)
kreg.summary(model)  # no zeros

strength = kreg.schedules.LinearRamp(0.0, 4e-4, steps=steps // 2)
model = network(
    kreg.GroupLasso(strength, "inputs"), kreg.GroupLasso(strength, "units")
)
train(model, kreg.ProximalOptimizer(keras.optimizers.Adam(3e-3)), epochs=30)
kreg.summary(model)  # dead inputs and dead units

kreg.freeze_support(model)
train(model, kreg.ProximalOptimizer(keras.optimizers.Adam(1e-3)), epochs=10)
kreg.summary(model)  # the same zeros; the other weights are not shrunk
