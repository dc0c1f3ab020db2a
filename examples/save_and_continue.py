"""Save a model in the middle of a schedule, reload it, and go on.

The schedule continues with the optimizer's iterations. The model file also
keeps the multiplier that a callback has set.

Run with: python save_and_continue.py
"""

import tempfile
from pathlib import Path

import keras
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

import kreg

keras.utils.set_random_seed(0)
x, y = load_wine(return_X_y=True)
x = StandardScaler().fit_transform(x).astype("float32")
steps_per_epoch = -(-len(x) // 32)
ramp = kreg.schedules.LinearRamp(0.0, 1e-2, steps=10 * steps_per_epoch)

model = keras.Sequential(
    [
        keras.Input((13,)),
        keras.layers.Dense(3, "softmax", kernel_regularizer=kreg.L1(ramp)),
    ]
)
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")

# A function of the epoch, here a constant, halves the strength of the ramp.
halve = kreg.callbacks.StrengthScheduler(lambda epoch: 0.5)
model.fit(x, y, epochs=5, callbacks=[halve], verbose=0)
print("before saving:", model.layers[-1].kernel_regularizer)
print(kreg.penalties(model))

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "wine.keras"
    model.save(path)
    loaded = keras.models.load_model(path)

print("after loading:", loaded.layers[-1].kernel_regularizer)
print(kreg.penalties(loaded))

kreg.bind(loaded)
history = loaded.fit(x, y, initial_epoch=5, epochs=10, verbose=0).history
print("penalty, epochs 6 to 10:", [round(p, 4) for p in history["penalty"]])
