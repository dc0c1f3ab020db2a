"""Watch it: every weight's sparsity and strength in TensorBoard.

Trains a classifier whose strength rises over the first half of the training,
and prints how to see it.

Run with: python watch_it.py
"""

from datetime import datetime

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kreg

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    x.astype("float32") / 16, y, test_size=0.5, stratify=y, random_state=0
)
epochs = 40
steps = epochs * -(-len(x_train) // 32)
ramp = kreg.schedules.LinearRamp(0.0, 5e-4, steps=steps // 2)
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((64,))])
for name in ("first", "second"):
    model.add(
        keras.layers.Dense(
            64, activation="relu", kernel_regularizer=kreg.L1(ramp), name=name
        )
    )
model.add(keras.layers.Dense(10, activation="softmax", name="last"))
rate = keras.optimizers.schedules.CosineDecay(3e-3, steps, alpha=0.1)
model.compile(
    kreg.ProximalOptimizer(keras.optimizers.Adam(rate)),
    "sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
for finding in kreg.check(model):
    print(finding)

log_dir = f"logs/watch-{datetime.now():%Y%m%d-%H%M%S}"
model.fit(
    x_train,
    y_train,
    epochs=epochs,
    validation_data=(x_test, y_test),
    verbose=0,
    callbacks=[
        kreg.RegularizationMonitor(log_dir, update_freq=10),
    ],
)
kreg.summary(model)
print("Run  tensorboard --logdir logs  and open http://localhost:6006/#kreg")
