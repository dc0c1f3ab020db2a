"""`ProximalOptimizer` is an ordinary Keras optimizer around another."""

import json

import keras
import numpy as np
import pytest

import kreg


def network(penalty=None):
    layer = keras.layers.Dense(4, kernel_regularizer=penalty or kreg.L1(0.1))
    return keras.Sequential([keras.Input((3,)), layer])


def fitted(optimizer, **arguments):
    model = network()
    model.compile(optimizer, "mse")
    kreg.bind(model)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 4))
    model.fit(x, y, batch_size=4, verbose=0, **arguments)
    return model


def test_takes_a_name():
    optimizer = kreg.ProximalOptimizer("adam")
    assert isinstance(optimizer.inner_optimizer, keras.optimizers.Adam)


def test_learning_rate_is_that_of_the_inner_optimizer():
    optimizer = kreg.ProximalOptimizer(keras.optimizers.Adam(0.1))
    assert float(optimizer.learning_rate.numpy()) == pytest.approx(0.1)
    optimizer.learning_rate = 0.2
    inner = optimizer.inner_optimizer.learning_rate
    assert float(inner.numpy()) == pytest.approx(0.2)


def test_callbacks_that_set_the_learning_rate():
    model = fitted(
        kreg.ProximalOptimizer(keras.optimizers.SGD(0.1)),
        epochs=2,
        callbacks=[
            keras.callbacks.LearningRateScheduler(
                lambda epoch: 0.1 / (epoch + 1)
            ),
            keras.callbacks.ReduceLROnPlateau("loss", patience=99),
        ],
    )
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.05)


def test_variables_and_iterations_are_those_of_the_inner_optimizer():
    optimizer = fitted(kreg.ProximalOptimizer("adam")).optimizer
    inner = optimizer.inner_optimizer
    assert [id(v) for v in optimizer.variables] == [
        id(v) for v in inner.variables
    ]
    assert int(optimizer.iterations.numpy()) == 4


def test_serialization_round_trip():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = kreg.ProximalOptimizer(
        keras.optimizers.Adam(schedule, amsgrad=True), name="mine"
    )
    serialized = keras.saving.serialize_keras_object(optimizer)
    serialized = json.loads(json.dumps(serialized))
    revived = keras.saving.deserialize_keras_object(serialized)
    assert keras.saving.serialize_keras_object(revived) == serialized
    assert revived.name == "mine"
    assert revived.inner_optimizer.amsgrad


def test_state_is_saved_and_loaded(tmp_path):
    model = fitted(kreg.ProximalOptimizer("adam"))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(
        loaded.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.thorough
def test_set_weights():
    first = fitted(kreg.ProximalOptimizer("adam")).optimizer
    second = fitted(kreg.ProximalOptimizer("adam"), epochs=2).optimizer
    second.set_weights([v.numpy() for v in first.variables])
    assert int(second.iterations.numpy()) == 4


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipped_gradients(clip):
    """Gradients are clipped to 1e-9, and proximal steps by the same factor."""
    inner = keras.optimizers.SGD(0.1, **{clip: 1e-9})
    keras.utils.set_random_seed(1)
    before = network().get_weights()[0]
    keras.utils.set_random_seed(1)
    after = fitted(kreg.ProximalOptimizer(inner)).get_weights()[0]
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("penalty", [kreg.L1(0.1), kreg.L2(0.2)], ids=repr)
def test_weight_decay_and_a_penalty_both_act(penalty):
    """First the inner optimizer decays the weight, then the penalty acts."""
    inner = keras.optimizers.SGD(0.1, weight_decay=0.5)
    keras.utils.set_random_seed(1)
    w = network(penalty).get_weights()[0]
    keras.utils.set_random_seed(1)
    model = network(penalty)
    model.compile(kreg.ProximalOptimizer(inner), "mse")
    kreg.bind(model)
    x, y = np.zeros((16, 3)), np.zeros((16, 4))
    model.fit(x, y, batch_size=4, verbose=0)
    for _ in range(4):
        w = w * (1 - 0.1 * 0.5)
        if isinstance(penalty, kreg.L1):
            w = np.sign(w) * np.maximum(np.abs(w) - 0.1 * 0.1, 0)
        else:
            w = w / (1 + 2 * 0.1 * 0.2)
    np.testing.assert_allclose(model.get_weights()[0], w, atol=1e-6)


def test_moving_average_keeps_zeros():
    inner = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model = network(kreg.L1(2.0))
    model.compile(kreg.ProximalOptimizer(inner), "mse")
    kreg.bind(model)
    x = np.random.default_rng(0).normal(size=(16, 3))
    model.fit(x, np.zeros((16, 4)), batch_size=4, verbose=0, epochs=3)
    assert not model.get_weights()[0].any()


def test_overwriting_moving_average_is_refused():
    inner = keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2)
    with pytest.raises(ValueError, match="`ema_overwrite_frequency`"):
        kreg.ProximalOptimizer(inner)


@pytest.mark.parametrize("name", ["Ftrl", "Lion", "Lamb", "Muon", "Adafactor"])
def test_optimizer_without_an_effective_step_is_refused_by_name(name):
    inner = getattr(keras.optimizers, name)()
    with pytest.raises(ValueError, match=f"Received: inner_optimizer=.*{name}"):
        kreg.ProximalOptimizer(inner)


def schedule_free_distance():
    """The distance of Keras's ScheduleFreeAdamW from its paper in 30 steps."""
    gradients = np.random.default_rng(0).normal(size=(30, 4))
    y = z = x = np.ones(4)
    v = np.zeros(4)
    variable = keras.Variable(np.ones(4, "float32"))
    optimizer = keras.optimizers.ScheduleFreeAdamW(0.05)
    for k, g in enumerate(gradients, 1):
        v = 0.999 * v + 0.001 * g**2
        z = z - 0.05 * g / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        x = (1 - 1 / k) * x + z / k
        y = 0.1 * z + 0.9 * x
        tensor = keras.ops.convert_to_tensor(g, "float32")
        optimizer.apply([tensor], [variable])
    return np.abs(keras.ops.convert_to_numpy(variable) - y).max()


def test_schedule_free_is_served_where_keras_computes_it_rightly():
    """If this fails, Keras has fixed it: support it on every backend."""
    if keras.backend.backend() == "jax":
        assert schedule_free_distance() < 1e-5
        fitted(kreg.ProximalOptimizer(keras.optimizers.ScheduleFreeAdamW()))
        return
    assert schedule_free_distance() > 1e-3
    with pytest.raises(ValueError, match="JAX backend alone"):
        kreg.ProximalOptimizer(keras.optimizers.ScheduleFreeAdamW())


def test_one_inside_another_is_refused():
    with pytest.raises(ValueError, match="One ProximalOptimizer is enough"):
        kreg.ProximalOptimizer(kreg.ProximalOptimizer("sgd"))


def choice(default, **others):
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(default, others)
    )


def two_layers():
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(
                4, kernel_regularizer=kreg.L1(1.0), name="first"
            ),
            keras.layers.Dense(4, name="last"),
        ]
    )


def test_each_of_several_optimizers_has_its_own_effective_step():
    """Without a gradient only proximal steps move a weight."""
    for slow_first, step in ((False, 0.02), (True, 0.001)):
        slow = keras.optimizers.SGD(0.001)
        fast = keras.optimizers.SGD(0.01, momentum=0.5)
        first, last = (slow, fast) if slow_first else (fast, slow)
        optimizer = choice(last, **{".*first.*": first})
        model = two_layers()
        before = model.layers[0].get_weights()[0]
        model.compile(kreg.ProximalOptimizer(optimizer), "mse")
        kreg.bind(model)
        x, y = np.zeros((16, 3)), np.zeros((16, 4))
        model.fit(x, y, batch_size=4, verbose=0)
        shrunk = np.sign(before) * np.maximum(np.abs(before) - 4 * step, 0)
        after = model.layers[0].get_weights()[0]
        np.testing.assert_allclose(after, shrunk, atol=1e-6)


def test_an_optimizer_of_unpenalized_weights_may_be_of_any_kind():
    muon, sgd = keras.optimizers.Muon(), keras.optimizers.SGD(0.01)
    model = two_layers()
    optimizer = choice(sgd, **{".*last.*": muon})
    model.compile(kreg.ProximalOptimizer(optimizer), "mse")
    kreg.bind(model)
    model.fit(np.ones((8, 3)), np.ones((8, 4)), verbose=0)
    model = two_layers()
    optimizer = choice(sgd, **{".*first.*": keras.optimizers.Muon()})
    model.compile(kreg.ProximalOptimizer(optimizer), "mse")
    kreg.bind(model)
    before = model.layers[0].get_weights()[0]
    with pytest.raises(ValueError, match=r"Muon orthogonalizes.*Use Adam"):
        model.fit(np.ones((8, 3)), np.ones((8, 4)), verbose=0)
    if keras.backend.backend() != "jax":  # where Keras loses the weights
        np.testing.assert_array_equal(model.layers[0].get_weights()[0], before)


def test_several_optimizers_around_this_one_are_refused():
    model = two_layers()
    model.compile(choice(kreg.ProximalOptimizer("sgd")), "mse")
    kreg.bind(model)
    with pytest.raises(ValueError, match=r"ProximalOptimizer\(MultiOptimizer"):
        model.fit(np.ones((8, 3)), np.ones((8, 4)), verbose=0)


def test_loss_scale_optimizer_inside_is_refused():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    with pytest.raises(ValueError, match="Put the ProximalOptimizer inside"):
        kreg.ProximalOptimizer(scaled)


@pytest.mark.parametrize("value", [None, 3, keras.optimizers.Adam], ids=repr)
def test_no_optimizer_is_refused(value):
    with pytest.raises(TypeError, match="`inner_optimizer` must be"):
        kreg.ProximalOptimizer(value)


def test_subclass_with_the_same_update_is_served():
    class Named(keras.optimizers.Adam):
        pass

    fitted(kreg.ProximalOptimizer(Named()))


def test_subclass_with_another_update_is_refused_until_registered():
    class Halved(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient / 2, variable, learning_rate)

    with pytest.raises(ValueError, match="register_optimizer"):
        kreg.ProximalOptimizer(Halved())

    @kreg.optimizers.register_optimizer(Halved)
    def halved(optimizer, variable, learning_rate):
        return kreg.optimizers.EffectiveStep(learning_rate / 2)

    fitted(kreg.ProximalOptimizer(Halved()))


def test_weights_without_a_gradient_are_not_wiped():
    """These are rows of an embedding that no batch holds."""
    embedding = keras.layers.Embedding(
        1000, 8, embeddings_regularizer=kreg.L1(1e-5)
    )
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), embedding, keras.layers.Flatten()]
    )
    model.add(keras.layers.Dense(1))
    model.compile(kreg.ProximalOptimizer("adam"), "mse")
    kreg.bind(model)
    before = embedding.get_weights()[0]
    x = np.random.default_rng(0).integers(0, 10, size=(64, 3))
    model.fit(x, np.ones((64, 1)), epochs=10, verbose=0)
    after = embedding.get_weights()[0]
    np.testing.assert_allclose(after[10:], before[10:], atol=1e-4)
    assert np.count_nonzero(after[10:]) > 0.99 * after[10:].size


@pytest.mark.slow
def test_input_that_is_always_zero_is_dropped_in_the_end():
    """Its weight is 0 in the lasso's solution; Adam would divide 0 by 0."""
    model = network(kreg.L1(0.05))
    model.compile(kreg.ProximalOptimizer(keras.optimizers.Adam(0.01)), "mse")
    kreg.bind(model)
    x = np.random.default_rng(0).normal(size=(64, 3))
    x[:, 1] = 0.0
    model.fit(x, x @ np.ones((3, 4)), batch_size=16, epochs=150, verbose=0)
    zero = model.get_weights()[0] == 0.0
    assert zero[1].all()
    assert not zero[[0, 2]].any()


def test_frozen_layers_are_left_alone():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, kernel_regularizer=kreg.L1(1.0)),
            keras.layers.Dense(4, kernel_regularizer=kreg.L1(1.0)),
        ]
    )
    model.layers[0].trainable = False
    model.compile(kreg.ProximalOptimizer(keras.optimizers.SGD(0.5)), "mse")
    kreg.bind(model)
    frozen = model.layers[0].get_weights()[0]
    model.fit(np.ones((8, 3)), np.zeros((8, 4)), epochs=5, verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], frozen)
    assert not model.layers[1].get_weights()[0].any()


def test_average_is_of_the_weights_after_their_proximal_steps():
    """With a constant pull and no data the average is computed by hand."""
    inner = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model = network(kreg.L1(0.2))
    w = model.get_weights()[0]
    model.compile(kreg.ProximalOptimizer(inner), "mse")
    kreg.bind(model)
    x, y = np.zeros((16, 3)), np.zeros((16, 4))
    model.fit(x, y, batch_size=4, verbose=0)
    average = None
    for _ in range(4):
        w = np.sign(w) * np.maximum(np.abs(w) - 0.02, 0)
        average = w if average is None else 0.5 * average + 0.5 * w
    average[w == 0] = 0.0
    np.testing.assert_allclose(model.get_weights()[0], average, atol=1e-6)


@pytest.mark.slow
def test_weight_that_mcp_spares_stays_under_adam():
    """Its gradient vanishes there, and Adam divides by its size."""
    start = np.array([[1.0], [1.0]], "float32")
    layer = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=keras.initializers.Constant(start),
        kernel_regularizer=kreg.MCP(1e-3, gamma=500.0),  # spares beyond 0.5
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(kreg.ProximalOptimizer(keras.optimizers.Adam(0.01)), "mse")
    kreg.bind(model)
    x = np.random.default_rng(0).normal(size=(32, 2)) * [1.0, 1e-4]
    model.fit(x, x @ start, batch_size=32, epochs=400, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], start, atol=0.05)


@pytest.mark.tensorflow
@pytest.mark.parametrize("where", ["weights", "steps"])
def test_on_another_device(where):
    import tensorflow as tf

    device, default = tf.device("CPU:1"), tf.device(None)
    with device if where == "weights" else default:
        model = network()
    model.compile(kreg.ProximalOptimizer("adam"), "mse", jit_compile=False)
    kreg.bind(model)
    with device if where == "steps" else default:
        model.fit(np.ones((8, 3)), np.ones((8, 4)), verbose=0)
