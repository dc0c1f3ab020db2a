"""Warm a penalty up from zero, and watch the data loss apart from it.

Run with: python scheduled_strength.py
"""

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kreg

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(
    x.astype("float32") / 16, y, test_size=0.5, stratify=y, random_state=0
)
epochs, batch_size = 10, 32
steps = epochs * len(x_train) // batch_size

# Nothing for a tenth of the training, then up to 2e-3, then hold.
strength = kreg.schedules.Delay(
    kreg.schedules.CosineRamp(0.0, 2e-3, steps=steps // 2), steps=steps // 10
)
model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(
            64, activation="relu", kernel_regularizer=kreg.L2(strength)
        ),
        keras.layers.Dense(
            10, activation="softmax", kernel_regularizer=kreg.L2(strength)
        ),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
kreg.bind(model)  # the schedule follows the optimizer from here on

history = model.fit(
    x_train,
    y_train,
    batch_size=batch_size,
    epochs=epochs,
    validation_data=(x_val, y_val),
    callbacks=[keras.callbacks.EarlyStopping("val_data_loss", patience=3)],
    verbose=0,
).history

print("epoch  penalty  data loss  val. data loss  val. accuracy")
for epoch, figures in enumerate(
    zip(
        history["penalty"],
        history["data_loss"],
        history["val_data_loss"],
        history["val_accuracy"],
        strict=True,
    )
):
    print(f"{epoch:5}", *(f"{figure:10.4f}" for figure in figures))
