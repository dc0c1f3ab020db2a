"""A penalty on heads as a term of the loss: exactly once, bound or not."""

import keras
import numpy as np
import pytest
from heads import (
    AXES,
    QUICK,
    X,
    Y,
    attention_model,
    head_rows,
    values,
)
from keras import optimizers
from thorough import few_of

import kreg

SIZE = 3 * 6 * 4 + 3 * 4 + 4 * 6


def trained(model, optimizer=None, **settings):
    optimizer = optimizer or optimizers.SGD(0.1)
    model.compile(optimizer, "mse", **(settings or QUICK))
    return model.fit(X, Y, batch_size=32, verbose=0).history


def gradient_of_the_penalty(rows, strength):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return strength * np.sqrt(SIZE) * rows / norms


@pytest.mark.parametrize("compiled", few_of([False, True], False))
def test_gradient_acts_once_under_an_optimizer_of_keras(compiled):
    plain, model = attention_model(), attention_model()
    start = head_rows(values(plain))
    kreg.attach(model, kreg.GroupLasso(0.02, "heads"))
    settings = {"jit_compile": False} if compiled else {}
    trained(plain, **settings)
    trained(model, **settings)
    expected = head_rows(values(plain))
    expected -= 0.1 * gradient_of_the_penalty(start, 0.02)
    np.testing.assert_allclose(head_rows(values(model)), expected, atol=2e-6)


def test_loss_has_the_penalty_once():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.02, "heads"))
    norms = np.linalg.norm(head_rows(values(model)), axis=1)
    expected = 0.02 * np.sqrt(SIZE) * norms.sum()
    logs = trained(model, kreg.ProximalOptimizer(optimizers.SGD(0.0)))
    assert logs["penalty"][0] == pytest.approx(expected, rel=1e-5)
    difference = logs["loss"][0] - logs["data_loss"][0]
    assert difference == pytest.approx(expected, rel=1e-4)


def test_value_stays_where_the_first_weight_is_frozen():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.02, "heads"))
    model.get_layer("attention").query_dense.trainable = False
    left = {p: w for p, w in values(model).items() if "query" not in p}
    rows = head_rows(left)
    norms = np.linalg.norm(rows, axis=1)
    expected = 0.02 * np.sqrt(rows.shape[1]) * norms.sum()
    total = sum(float(keras.ops.convert_to_numpy(x)) for x in model.losses)
    assert total == pytest.approx(expected, rel=1e-5)


def test_unbound_and_bound_again():
    model = attention_model()
    penalty = kreg.GroupLasso(0.02, "heads")
    kreg.attach(model, penalty)

    def total():
        losses = [keras.ops.convert_to_numpy(loss) for loss in model.losses]
        return pytest.approx(float(np.sum(losses)), rel=1e-6)

    before = total()
    kreg.binding.unbind(model)
    assert total() == before
    assert list(kreg.penalties(model)) == ["attention/heads"]
    kreg.bind(model)
    assert total() == before
    assert model.get_layer("attention").query_dense.kernel.regularizer.penalty


def test_unbound_tie_is_refused_before_a_weight_changes():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.02, "heads"))
    kreg.binding.unbind(model)
    before = head_rows(values(model))
    optimizer = kreg.ProximalOptimizer(optimizers.SGD(0.1))
    gradients = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    with pytest.raises(ValueError, match="was not bound"):
        optimizer.apply(gradients, model.trainable_variables)
    np.testing.assert_array_equal(head_rows(values(model)), before)


def test_one_object_on_several_layers_is_one_penalty():
    x = keras.Input((5, 6))
    y = x
    for name in ("first", "second"):
        y = keras.layers.MultiHeadAttention(3, 4, name=name)(y, y)
    model = keras.Model(x, y)
    penalty = kreg.GroupLasso(0.02, "heads")
    kreg.attach(model, penalty)
    before = kreg.penalties(model)
    assert list(before) == ["first/heads", "second/heads"]
    penalty.multiplier = 3.0
    after = kreg.penalties(model)
    for path, value in before.items():
        assert after[path] == pytest.approx(3.0 * value, rel=1e-6)


def test_paths_of_the_tied_weights():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.02, "heads"))
    tied = [v.path for v in model.weights if v.regularizer is not None]
    assert set(tied) == AXES.keys()


def test_weights_with_one_penalty_are_tied_when_bound():
    model = attention_model()
    penalty = kreg.GroupLasso(0.02, "heads")
    for variable in model.weights:
        if variable.path in AXES:
            variable.regularizer = penalty
    kreg.bind(model)
    assert list(kreg.penalties(model)) == ["attention/heads"]


def test_part_of_a_tie_is_refused_with_the_fix():
    model = attention_model()
    kernel = model.get_layer("attention").query_dense.kernel
    kernel.regularizer = kreg.GroupLasso(0.02, "heads")
    with pytest.raises(ValueError, match=r"query/kernel.*kreg\.attach"):
        kreg.bind(model)
