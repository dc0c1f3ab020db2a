"""Multiply-adds of models against counts by hand and published ones."""

import keras
import numpy as np
import pytest
from deployment.shipped_models import Subclassed
from keras import layers

import kreg
from kreg.deployment._costs import multiply_adds
from kreg.surgery.sample import random_sample


def counts_of(model):
    return multiply_adds(model, random_sample(model, 1))


def test_attention_counts_projections_scores_and_values():
    query, value = keras.Input((5, 8)), keras.Input((7, 6))
    # Keras on JAX calls for values of the size of keys.
    v = 4 if keras.backend.backend() == "jax" else 3
    layer = layers.MultiHeadAttention(2, key_dim=4, value_dim=v)
    counts = counts_of(keras.Model([query, value], layer(query, value)))
    projections = 5 * 8 * 2 * 4 + 7 * 6 * 2 * 4 + 7 * 6 * 2 * v + 5 * 2 * v * 8
    assert counts.total == projections + 2 * 5 * 7 * (4 + v)


def test_attention_of_groups_of_queries():
    x = keras.Input((5, 8))
    layer = layers.GroupQueryAttention(3, 4, 2)
    counts = counts_of(keras.Model(x, layer(x, x)))
    projections = 5 * 8 * 3 * (4 + 2 + 2) + 5 * 12 * 8
    assert counts.total == projections + 5 * 5 * 4 * (3 + 3)


def test_channels_first_counts_the_same():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's convolutions on the CPU take channels last")
    layer = layers.Conv2D(5, 3, data_format="channels_first")
    counts = counts_of(keras.Sequential([keras.Input((2, 8, 6)), layer]))
    assert counts.total == 6 * 4 * 5 * 3 * 3 * 2


def test_shared_layer_counts_once_for_each_call():
    x = keras.Input((3,))
    dense = layers.Dense(3)
    assert counts_of(keras.Model(x, dense(dense(x)))).total == 2 * 3 * 3


def test_nested_and_subclassed_models_count_by_layer():
    inner = Subclassed(name="inner")
    model = keras.Sequential([keras.Input((6,)), inner, layers.Dense(3)])
    by_layer = counts_of(model).by_layer
    assert sorted(by_layer.values()) == [2 * 3, 4 * 2, 6 * 4]


def test_zeros_count_in_full():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(5)])
    model.layers[0].set_weights([np.zeros((3, 5)), np.zeros(5)])
    assert counts_of(model).total == 15


@pytest.mark.thorough
def test_unknown_layer_with_a_matrix_is_named():
    class Mine(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 2), name="kernel")

        def call(self, x):
            return keras.ops.matmul(x, self.kernel)

    model = keras.Sequential([keras.Input((3,)), Mine(name="mine")])
    counts = counts_of(model)
    assert counts.total == 0
    assert counts.uncounted == [model.layers[0].path]
    report = kreg.deployment.deploy_report(model, runs=1)
    assert f"Not in the FLOPs: {model.layers[0].path}." in str(report)


def test_layers_are_as_they_were():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(5)])
    counts_of(model)
    assert "call" not in vars(model)
    assert "call" not in vars(model.layers[0])


# Multiply-adds at 224 by 224, in millions, as far as they are rounded there:
# MobileNet by Howard et al. (2017), MobileNetV2 by Sandler et al. (2018),
# ResNet50 by He et al. (2015).
@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "millions", "tolerance"),
    [
        ("MobileNet", 569, 0.5),
        ("MobileNetV2", 300, 1.0),
        ("ResNet50", 3800, 60),
    ],
)
def test_networks_count_as_published(network, millions, tolerance):
    model = getattr(keras.applications, network)(weights=None)
    counted = counts_of(model).total / 1e6
    assert counted == pytest.approx(millions, abs=tolerance)
