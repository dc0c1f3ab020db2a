"""One proximal step over channels, whose groups may differ in size."""

import keras
import numpy as np
import pytest
from channels import entries, made, numbers, ties, value
from keras import optimizers
from thorough import few_of
from tied_steps import STEPS, tied_step

import kreg

MODELS = ("normalized mlp", "resnet", "branches", "padded", "partly fixed")
EAGER = {"run_eagerly": keras.backend.backend() == "tensorflow"}


def data(model):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(16, *model.inputs[0].shape[1:])).astype("float32")
    y = rng.normal(size=(16, *model.outputs[0].shape[1:])).astype("float32")
    return x, y


def trained(model, optimizer, *, epochs=1, batch=16, **settings):
    model.compile(optimizer, "mse", **(settings or EAGER))
    x, y = data(model)
    model.fit(x, y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("strength", [3e-3, 0.3])
@pytest.mark.parametrize("optimizer", few_of(STEPS, "adam"))
@pytest.mark.parametrize("name", few_of(MODELS, "branches", "partly fixed"))
def test_step_is_that_of_the_whole_channel(name, optimizer, strength):
    make, step_of, limit = STEPS[optimizer]
    plain = trained(made(name)[0], make())
    model, _ = made(name)
    kreg.attach(model, kreg.GroupLasso(strength, "channels"))
    inner = make()
    trained(model, kreg.ProximalOptimizer(inner))
    before = {
        id(v): value(u)
        for v, u in zip(model.weights, plain.weights, strict=True)
    }
    tied = set()
    for parts in ties(model).values():
        arrays = [before[id(part.variable)] for part in parts]
        lengths = [
            np.broadcast_to(step_of(inner, part.variable.path), w.shape)
            for part, w in zip(parts, arrays, strict=True)
        ]
        for w, t, after in zip(
            entries(parts, arrays),
            entries(parts, lengths),
            entries(parts),
            strict=True,
        ):
            expected = tied_step(w, t, strength * np.sqrt(len(w)))
            expected = np.clip(expected, w - limit, w + limit)
            np.testing.assert_allclose(after, expected, atol=5e-6)
        for part, w in zip(parts, arrays, strict=True):
            tied.add(id(part.variable))
            free = numbers(part) < 0
            np.testing.assert_allclose(
                value(part.variable)[free], w[free], atol=1e-6
            )
    for variable in model.weights:
        if id(variable) not in tied:
            np.testing.assert_allclose(
                value(variable), before[id(variable)], atol=1e-6
            )


OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.02, momentum=0.9),
    "Nesterov": lambda: optimizers.SGD(0.02, momentum=0.9, nesterov=True),
    "Adam": lambda: optimizers.Adam(0.05),
    "AMSGrad": lambda: optimizers.Adam(0.05, amsgrad=True),
    "AdamW": lambda: optimizers.AdamW(0.05),
    "Adamax": lambda: optimizers.Adamax(0.05),
    "Nadam": lambda: optimizers.Nadam(0.05),
    "RMSprop": lambda: optimizers.RMSprop(0.05),
    "centered RMSprop": lambda: optimizers.RMSprop(0.01, centered=True),
    "Adagrad": lambda: optimizers.Adagrad(0.2),
    "Adadelta": lambda: optimizers.Adadelta(5.0),
}


def dead_shares(model):
    """For each channel, which part of its entries is zero."""
    return [
        (group == 0).mean()
        for parts in ties(model).values()
        for group in entries(parts)
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("optimizer", few_of(OPTIMIZERS, "Adam"))
def test_entries_of_a_channel_die_together(optimizer):
    model, _ = made("branches")
    kreg.attach(model, kreg.GroupLasso(0.4, "channels"))
    inner = OPTIMIZERS[optimizer]()
    trained(model, kreg.ProximalOptimizer(inner), epochs=12, batch=8)
    dead = dead_shares(model)
    assert set(dead) <= {0.0, 1.0}
    assert any(dead)


TRAININGS = {
    "normalized mlp": {},
    "cnn": {"jit_compile": False},
    "resnet": {"jit_compile": False},
    "mobilenet": {"jit_compile": True},
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", few_of(TRAININGS, "normalized mlp"))
def test_dead_channels_are_removed_after_training(name):
    settings = TRAININGS[name]
    if settings and keras.backend.backend() == "torch":
        settings = {"jit_compile": False}  # its compiler warns of itself
    model, _ = made(name)
    kreg.attach(model, kreg.GroupLasso(0.03, "channels"))
    optimizer = kreg.ProximalOptimizer(optimizers.Adam(0.05))
    trained(model, optimizer, epochs=16, batch=8, **settings)
    alive = [
        sum(group.any() for group in entries(parts))
        for parts in ties(model).values()
    ]
    small = kreg.compact(model)
    assert small.count_params() < model.count_params()
    kreg.attach(small, kreg.GroupLasso(0.02, "channels"))
    left = [len(entries(parts)) for parts in ties(small).values()]
    # A channel that is not zero goes, too, where nothing reads it.
    assert all(a <= max(b, 1) for a, b in zip(left, alive, strict=True))
    x, _ = data(model)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(small(x)),
        keras.ops.convert_to_numpy(model(x)),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("wrapping", few_of(["accumulation", "scale"], "scale"))
def test_step_follows_the_update(wrapping):
    def optimizer(wrap):
        if wrapping == "scale":
            return optimizers.LossScaleOptimizer(wrap(optimizers.SGD(0.1)))
        return wrap(optimizers.SGD(0.1, gradient_accumulation_steps=2))

    batch = 8 if wrapping == "accumulation" else 16
    plain = trained(made("padded")[0], optimizer(lambda o: o), batch=batch)
    model, _ = made("padded")
    kreg.attach(model, kreg.GroupLasso(0.03, "channels"))
    trained(model, optimizer(kreg.ProximalOptimizer), batch=batch)
    before = dict(zip(map(id, model.weights), plain.weights, strict=True))
    for parts in ties(model).values():
        arrays = [value(before[id(part.variable)]) for part in parts]
        for w, after in zip(
            entries(parts, arrays), entries(parts), strict=True
        ):
            length = 0.1 * 0.03 * np.sqrt(len(w))
            expected = w * max(1.0 - length / np.linalg.norm(w), 0.0)
            np.testing.assert_allclose(after, expected, atol=2e-6)


def test_strength_0_is_plain_keras():
    plain = trained(made("partly fixed")[0], optimizers.Adam(0.01), epochs=2)
    model, _ = made("partly fixed")
    kreg.attach(model, kreg.GroupLasso(0.0, "channels"))
    trained(model, kreg.ProximalOptimizer(optimizers.Adam(0.01)), epochs=2)
    for one, other in zip(plain.weights, model.weights, strict=True):
        np.testing.assert_array_equal(value(one), value(other))


def test_sparse_group_lasso_thresholds_entries_first():
    plain = trained(made("partly fixed")[0], optimizers.SGD(0.1))
    model, _ = made("partly fixed")
    kreg.attach(model, kreg.SparseGroupLasso(0.5, 0.02, "channels"))
    trained(model, kreg.ProximalOptimizer(optimizers.SGD(0.1)))
    before = dict(zip(map(id, model.weights), plain.weights, strict=True))
    for parts in ties(model).values():
        arrays = [value(before[id(part.variable)]) for part in parts]
        for w, after in zip(
            entries(parts, arrays), entries(parts), strict=True
        ):
            soft = np.sign(w) * np.maximum(np.abs(w) - 0.1 * 0.5, 0.0)
            length = 0.1 * 0.02 * np.sqrt(len(w))
            expected = soft * max(1.0 - length / np.linalg.norm(soft), 0.0)
            np.testing.assert_allclose(after, expected, atol=2e-6)


def test_frozen_weight_is_left_out_of_its_channels():
    plain, model = made("branches")[0], made("branches")[0]
    for one in (plain, model):
        one.get_layer("last").trainable = False
    trained(plain, optimizers.SGD(0.1))
    kreg.attach(model, kreg.GroupLasso(0.03, "channels"))
    trained(model, kreg.ProximalOptimizer(optimizers.SGD(0.1)))
    before = dict(zip(map(id, model.weights), plain.weights, strict=True))
    kernel = model.get_layer("last").kernel
    np.testing.assert_array_equal(
        value(kernel), value(plain.get_layer("last").kernel)
    )
    for parts in ties(model).values():
        left = [part for part in parts if part.variable is not kernel]
        arrays = [value(before[id(part.variable)]) for part in left]
        for w, after in zip(entries(left, arrays), entries(left), strict=True):
            length = 0.1 * 0.03 * np.sqrt(len(w))
            expected = w * max(1.0 - length / np.linalg.norm(w), 0.0)
            np.testing.assert_allclose(after, expected, atol=2e-6)


def test_averages_have_the_zeros_of_the_channels():
    model, _ = made("branches")
    kreg.attach(model, kreg.GroupLasso(0.3, "channels"))
    inner = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    trained(model, kreg.ProximalOptimizer(inner), epochs=6, batch=8)
    dead = dead_shares(model)
    assert set(dead) <= {0.0, 1.0}
    assert any(dead)
