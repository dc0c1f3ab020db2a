"""The rule `clipped-in-train-step`."""

import keras
import pytest
from linter_models import codes, finding, rules

import kreg

RULE = "clipped-in-train-step"


class ByGlobalNorm(keras.Model):
    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        grads = tape.gradient(loss, self.trainable_weights)
        grads, _ = tf.clip_by_global_norm(grads, 0.1)
        self.optimizer.apply_gradients(
            zip(grads, self.trainable_weights, strict=True)
        )
        return {"loss": loss}


class EachByItself(keras.Model):
    def train_step(self, data):
        import tensorflow as tf

        return [tf.clip_by_norm(g, 1.0) for g in data]


class Inherited(ByGlobalNorm):
    pass


class ClipsImages(keras.Model):
    """A step that clips, but no gradients."""

    def train_step(self, data):
        return keras.ops.clip(data, 0.0, 1.0)


def model_of(cls, optimizer, penalty="kreg"):
    penalties = {"kreg": kreg.L1(0.1), "none": None}
    inputs = keras.Input((6,))
    layer = keras.layers.Dense(1, kernel_regularizer=penalties[penalty])
    model = cls(inputs, layer(inputs))
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize("cls", [ByGlobalNorm, EachByItself, Inherited])
def test_clipping_that_the_optimizer_does_not_see_is_found(cls):
    model = model_of(cls, kreg.ProximalOptimizer("adam"))
    assert RULE in rules(model)
    (code,) = [c for c in codes(finding(model, RULE)) if "clipnorm" in c]
    assert eval(code, {"keras": keras}).clipnorm == 1.0


@pytest.mark.parametrize(
    ("cls", "optimizer", "penalty"),
    [
        (keras.Model, "proximal", "kreg"),
        (ClipsImages, "proximal", "kreg"),
        (ByGlobalNorm, "adam", "kreg"),
        (ByGlobalNorm, "proximal", "none"),
    ],
)
def test_nothing_is_said_elsewhere(cls, optimizer, penalty):
    """Without a proximal step the penalty is in the gradient, and clipped."""
    if optimizer == "proximal":
        optimizer = kreg.ProximalOptimizer("adam")
    assert RULE not in rules(model_of(cls, optimizer, penalty))
