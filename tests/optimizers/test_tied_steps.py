"""One proximal step over groups that lie in several weights."""

import keras
import numpy as np
import pytest
from heads import (
    AXES,
    QUICK,
    X,
    Y,
    attention_model,
    dead_heads,
    head_rows,
    tied_weights,
    values,
)
from keras import optimizers
from thorough import few_of
from tied_steps import STEPS, tied_step

import kreg

SIZE = 3 * 6 * 4 + 3 * 4 + 4 * 6
"""The number of entries of a head."""


def trained(model, optimizer, *, batches=1, epochs=1, **settings):
    """Train without compiling, which would take longer than the few steps."""
    model.compile(optimizer, "mse", **(settings or QUICK))
    size = len(X) // batches
    model.fit(X, Y, batch_size=size, epochs=epochs, shuffle=False, verbose=0)


def objective(u, w, t, strength):
    return strength * np.linalg.norm(u) + np.sum((u - w) ** 2 / (2 * t))


def test_bisection_finds_the_minimum():
    rng = np.random.default_rng(1)
    w, t = rng.normal(size=20), 10.0 ** rng.uniform(-2, 1, size=20)
    for strength in (0.5, 5.0, 500.0):
        u = tied_step(w, t, strength)
        least = objective(u, w, t, strength)
        for size in (1e-3, 1e-1, 1.0):
            for _ in range(200):
                other = u + size * rng.normal(size=20) * t
                assert objective(other, w, t, strength) >= least


@pytest.mark.parametrize("strength", [1e-3, 3e-2, 0.3])
@pytest.mark.parametrize("optimizer", few_of(STEPS, "momentum", "adam"))
def test_step_is_that_of_the_whole_head(optimizer, strength):
    make, step_of, limit = STEPS[optimizer]
    plain = attention_model()
    trained(plain, make())
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(strength, "heads"))
    inner = make()
    trained(model, kreg.ProximalOptimizer(inner))
    before = values(plain)
    lengths = {
        path: np.broadcast_to(step_of(inner, path), before[path].shape)
        for path in AXES
    }
    w, t = head_rows(before), head_rows(lengths)
    expected = [
        tied_step(w[head], t[head], strength * np.sqrt(SIZE))
        for head in range(3)
    ]
    expected = np.clip(np.array(expected), w - limit, w + limit)
    np.testing.assert_allclose(head_rows(values(model)), expected, atol=2e-6)


def clipped_by_norm(g, limit):
    return min(1.0, limit / np.linalg.norm(g))


CLIPPINGS = {
    "clipnorm": lambda g, every: clipped_by_norm(g, 0.05),
    "global_clipnorm": lambda g, every: clipped_by_norm(every, 0.05),
    "clipvalue": lambda g, every: 0.05 / np.maximum(np.abs(g), 0.05),
}


@pytest.mark.parametrize("clipping", few_of(CLIPPINGS, "clipnorm"))
def test_each_weight_has_its_clipped_fraction(clipping):
    rate, strength = 0.1, 0.02
    start = attention_model()
    unclipped = attention_model()
    trained(unclipped, optimizers.SGD(rate))
    gradients = [
        (keras.ops.convert_to_numpy(a) - keras.ops.convert_to_numpy(b)) / rate
        for a, b in zip(start.weights, unclipped.weights, strict=True)
    ]
    every = np.concatenate([g.ravel() for g in gradients])
    plain = attention_model()
    trained(plain, optimizers.SGD(rate, **{clipping: 0.05}))
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(strength, "heads"))
    inner = optimizers.SGD(rate, **{clipping: 0.05})
    trained(model, kreg.ProximalOptimizer(inner))
    lengths = {
        v.path: np.broadcast_to(
            rate * CLIPPINGS[clipping](g, every), tuple(v.shape)
        )
        for v, g in zip(start.weights, gradients, strict=True)
        if v.path in AXES
    }
    w, t = head_rows(values(plain)), head_rows(lengths)
    expected = [
        tied_step(w[head], t[head], strength * np.sqrt(SIZE))
        for head in range(3)
    ]
    np.testing.assert_allclose(head_rows(values(model)), expected, atol=1e-5)


def one_step(w, t, strength, size=SIZE):
    norms = np.linalg.norm(w, axis=1, keepdims=True)
    shrunk = np.maximum(1.0 - t * strength * np.sqrt(size) / norms, 0.0)
    return w * shrunk


WRAPPINGS = {
    "accumulation": (
        lambda wrap: wrap(optimizers.SGD(0.1, gradient_accumulation_steps=2)),
        2,
    ),
    "loss scale": (
        lambda wrap: optimizers.LossScaleOptimizer(wrap(optimizers.SGD(0.1))),
        1,
    ),
}


@pytest.mark.parametrize("wrapping", few_of(WRAPPINGS, "accumulation"))
def test_step_follows_the_update(wrapping):
    make, batches = WRAPPINGS[wrapping]
    plain = attention_model()
    trained(plain, make(lambda inner: inner), batches=batches)
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.03, "heads"))
    trained(model, make(kreg.ProximalOptimizer), batches=batches)
    expected = one_step(head_rows(values(plain)), 0.1, 0.03)
    np.testing.assert_allclose(head_rows(values(model)), expected, atol=2e-6)


def test_nothing_moves_while_gradients_are_accumulated():
    model = attention_model()
    before = head_rows(values(model))
    kreg.attach(model, kreg.GroupLasso(0.03, "heads"))
    inner = optimizers.SGD(0.1, gradient_accumulation_steps=2)
    trained(model, kreg.ProximalOptimizer(inner))
    np.testing.assert_array_equal(head_rows(values(model)), before)


def test_frozen_weight_is_left_out_of_its_heads():
    plain, model = attention_model(), attention_model()
    for one in (plain, model):
        one.get_layer("attention").value_dense.trainable = False
    trained(plain, optimizers.SGD(0.1))
    kreg.attach(model, kreg.GroupLasso(0.03, "heads"))
    trained(model, kreg.ProximalOptimizer(optimizers.SGD(0.1)))
    left = {path for path in AXES if "value" not in path}

    def rows(one):
        return head_rows({p: w for p, w in values(one).items() if p in left})

    expected = one_step(rows(plain), 0.1, 0.03, SIZE - 6 * 4 - 4)
    np.testing.assert_allclose(rows(model), expected, atol=2e-6)
    for path in AXES.keys() - left:
        np.testing.assert_array_equal(values(model)[path], values(plain)[path])


def test_constraint_holds_after_the_step():
    model = attention_model(kernel_constraint="non_neg")
    plain = attention_model()
    trained(plain, optimizers.SGD(0.1))
    kreg.attach(model, kreg.GroupLasso(0.03, "heads"))
    trained(model, kreg.ProximalOptimizer(optimizers.SGD(0.1)))
    before = {
        path: np.maximum(w, 0.0) if path.endswith("kernel") else w
        for path, w in values(plain).items()
    }
    expected = one_step(head_rows(before), 0.1, 0.03)
    np.testing.assert_allclose(head_rows(values(model)), expected, atol=2e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("jit_compile", few_of([False, True], False))
def test_heads_die_together(jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("torch.compile warns of its own deprecations")
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.02, "heads"))
    optimizer = kreg.ProximalOptimizer(optimizers.Adam(0.02))
    trained(model, optimizer, batches=4, epochs=20, jit_compile=jit_compile)
    dead = list(dead_heads(model).values())
    assert 0 < len(dead[0]) < 3
    assert all(heads == dead[0] for heads in dead)


def test_strength_0_is_plain_keras():
    plain, model = attention_model(), attention_model()
    kreg.attach(model, kreg.GroupLasso(0.0, "heads"))
    trained(plain, optimizers.Adam(0.01), batches=4, epochs=2)
    trained(
        model,
        kreg.ProximalOptimizer(optimizers.Adam(0.01)),
        batches=4,
        epochs=2,
    )
    for a, b in zip(plain.weights, model.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        )


def test_sparse_group_lasso_thresholds_entries_first():
    plain, model = attention_model(), attention_model()
    trained(plain, optimizers.SGD(0.1))
    kreg.attach(model, kreg.SparseGroupLasso(0.5, 0.02, "heads"))
    trained(model, kreg.ProximalOptimizer(optimizers.SGD(0.1)))
    w = head_rows(values(plain))
    soft = np.sign(w) * np.maximum(np.abs(w) - 0.1 * 0.5, 0.0)
    expected = one_step(soft, 0.1, 0.02)
    np.testing.assert_allclose(head_rows(values(model)), expected, atol=2e-6)


def test_members_of_a_multi_optimizer_may_differ():
    plain, model = attention_model(), attention_model()
    kreg.attach(model, kreg.GroupLasso(0.03, "heads"))

    def multi():
        chosen = optimizers.OptimizerMap(optimizers.SGD(0.1))
        chosen[".*value.*"] = optimizers.SGD(0.02)
        return optimizers.MultiOptimizer(chosen)

    trained(plain, multi())
    trained(model, kreg.ProximalOptimizer(multi()))
    w = values(plain)
    lengths = {
        path: np.full(array.shape, 0.02 if "value" in path else 0.1)
        for path, array in w.items()
    }
    expected = [
        tied_step(a, t, 0.03 * np.sqrt(SIZE))
        for a, t in zip(head_rows(w), head_rows(lengths), strict=True)
    ]
    np.testing.assert_allclose(head_rows(values(model)), expected, atol=2e-6)


def test_step_on_a_part_of_the_weights_is_refused():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.03, "heads"))
    optimizer = kreg.ProximalOptimizer(optimizers.SGD(0.1))
    kreg.bind(model, optimizer)
    optimizer.build(model.trainable_variables)
    chosen = [v for v in model.trainable_variables if "query" in v.path]
    before = head_rows(values(model))
    gradients = [keras.ops.ones(v.shape) for v in chosen]
    with pytest.raises(ValueError, match=r"ties weights.*attention/key/kernel"):
        optimizer.apply(gradients, chosen)
    np.testing.assert_array_equal(head_rows(values(model)), before)


def test_averages_have_the_zeros_of_the_heads():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.5, "heads"))
    inner = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    trained(model, kreg.ProximalOptimizer(inner), batches=4, epochs=2)
    dead = list(dead_heads(model).values())
    assert dead[0]
    assert all(heads == dead[0] for heads in dead)


@pytest.mark.tensorflow
@pytest.mark.thorough
def test_under_a_strategy(mirrored_strategy):
    alone = attention_model()
    kreg.attach(alone, kreg.GroupLasso(0.03, "heads"))
    trained(alone, kreg.ProximalOptimizer(optimizers.SGD(0.1)))
    with mirrored_strategy.scope():
        model = attention_model()
        optimizer = kreg.ProximalOptimizer(optimizers.SGD(0.1))
    kreg.attach(model, kreg.GroupLasso(0.03, "heads"))
    trained(model, optimizer, jit_compile=False)
    np.testing.assert_allclose(
        head_rows(values(model)), head_rows(values(alone)), atol=1e-5
    )


def test_tied_weights_are_these():
    assert tied_weights(attention_model()).keys() == AXES.keys()
