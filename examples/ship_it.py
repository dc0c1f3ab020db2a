"""From a trained model to a small one that is served without kreg.

Attaches a penalty that drops whole filters to a trained model, trains on,
removes what is dead, exports, and answers where kreg cannot be imported.

Run with: python ship_it.py
"""

import subprocess
import sys

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kreg

x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1).astype("float32") / 16
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)


def train(model, optimizer, epochs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=epochs, verbose=0)


keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((8, 8, 1))])
for filters in (32, 64):
    model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
    model.add(layers.BatchNormalization())
    model.add(layers.ReLU())
    model.add(layers.MaxPooling2D())
model.add(layers.Flatten())
model.add(layers.Dense(10, name="logits"))
train(model, keras.optimizers.Adam(1e-3), epochs=15)
print("test accuracy:", model.evaluate(x_test, y_test, verbose=0)[1])

print(kreg.attach(model, {layers.Conv2D: kreg.GroupLasso(0.1)}))
train(model, kreg.ProximalOptimizer(keras.optimizers.Adam(1e-3)), epochs=15)
kreg.freeze_support(model)
train(model, keras.optimizers.Adam(1e-3), epochs=5)
small, compaction = kreg.compact(model, return_compaction=True)
print(compaction)
print(kreg.export(small, "served", overwrite=True))

np.savez("test.npz", x=x_test, y=y_test)
serve = """
import sys; sys.modules["kreg"] = None; import numpy, tensorflow
data = numpy.load("test.npz")
model = tensorflow.saved_model.load("served")
logits = model.serve(data["x"]).numpy()
print("served test accuracy:", (logits.argmax(axis=1) == data["y"]).mean())
"""
subprocess.run([sys.executable, "-c", serve], check=True)
