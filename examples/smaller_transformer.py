"""A transformer that loses attention heads and hidden units.

The eight rows of a digit are eight tokens. Penalties on whole attention heads
and on whole units of the hidden layers train on from the dense model, then the
zeros stay while the rest trains on. `kreg.compact` removes what is zero.

Run with: python smaller_transformer.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kreg

x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8).astype("float32") / 16
x_train, x_test, y_train, y_test = train_test_split(
    x, y, test_size=500, stratify=y, random_state=0
)


def transformer(width=32, heads=4, hidden=128):
    inputs = keras.Input((8, 8))
    tokens = layers.Dense(width)(inputs)
    for i in range(2):
        h = layers.RMSNormalization()(tokens)
        attention = layers.MultiHeadAttention(
            heads, width // heads, name=f"attention_{i}"
        )
        tokens = tokens + attention(h, h)
        h = layers.RMSNormalization()(tokens)
        h = layers.Dense(hidden, "gelu", name=f"hidden_{i}")(h)
        tokens = tokens + layers.Dense(width)(h)
    outputs = layers.Dense(10)(layers.Flatten()(tokens))
    return keras.Model(inputs, outputs)


def train(model, optimizer, epochs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=64, epochs=epochs, verbose=0)
    accuracy = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    print(f"accuracy after {epochs} epochs: {accuracy['accuracy']:.3f}")


keras.utils.set_random_seed(0)
model = transformer()
train(model, keras.optimizers.Adam(2e-3), 30)
heads, units = kreg.GroupLasso(2e-3, groups="heads"), kreg.GroupLasso(1.2e-3)
kreg.attach(model, {"attention_*": heads, "hidden_*/kernel": units})
train(model, kreg.ProximalOptimizer(keras.optimizers.Adam(2e-3)), 30)
kreg.freeze_support(model)
train(model, kreg.ProximalOptimizer(keras.optimizers.Adam(1e-3)), 30)
small, compaction = kreg.compact(model, return_compaction=True)
print(compaction)
small.save("small_transformer.keras")
