"""Zeros stay zero while the rest trains on, unpenalized."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from thorough import few_of

import kreg
from kreg._keras_private import slots

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = X @ np.array([[1.0], [0.0], [-0.5], [0.0], [2.0], [0.0]], "float32")
W = np.array([[0.4], [0.0], [-0.3], [0.0], [0.9], [0.0]], "float32")
ZERO = W == 0.0
OPTIMIZERS = {
    "proximal": lambda: kreg.ProximalOptimizer(keras.optimizers.Adam(0.05)),
    "adam": lambda: keras.optimizers.Adam(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "accumulating": lambda: keras.optimizers.SGD(
        0.05, gradient_accumulation_steps=2
    ),
    "proximal_average": lambda: kreg.ProximalOptimizer(
        keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)
    ),
    "schedule_free": lambda: keras.optimizers.ScheduleFreeAdamW(0.05),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        kreg.ProximalOptimizer(keras.optimizers.SGD(0.05)), initial_scale=8.0
    ),
}


def network(optimizer="proximal", penalty=None, **arguments):
    layer = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_regularizer=penalty or kreg.L1(0.5),
        **arguments,
    )
    model = keras.Sequential([keras.Input((6,)), layer])
    model.set_weights([W])
    model.compile(OPTIMIZERS[optimizer](), "mse")
    return model


def fit(model, epochs=3):
    return model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0)


def kernel(model):
    return model.get_weights()[0]


@pytest.mark.parametrize(
    "optimizer", few_of(OPTIMIZERS, "proximal", "schedule_free")
)
def test_zeros_stay_and_the_rest_moves(optimizer):
    model = network(optimizer)
    kreg.freeze_support(model)
    fit(model)
    np.testing.assert_array_equal(kernel(model) == 0.0, ZERO)
    assert not np.signbit(kernel(model)[ZERO]).any()
    assert (kernel(model) != W)[~ZERO].all()


@pytest.mark.parametrize(
    "optimizer", few_of(OPTIMIZERS, "proximal", "schedule_free")
)
def test_zeros_move_again_after_the_inverse(optimizer):
    # Without a strength, or a proximal step would make them zero again.
    model = network(optimizer, penalty=kreg.L1(0.0))
    kreg.freeze_support(model)
    fit(model)
    kreg.unfreeze_support(model)
    fit(model)
    assert (kernel(model) != 0.0).all()


@pytest.mark.thorough
def test_the_rest_ends_at_least_squares_on_the_support():
    noisy = Y + RNG.normal(size=Y.shape).astype("float32")
    model = network("momentum")
    kreg.freeze_support(model)
    model.fit(X, noisy, batch_size=64, epochs=300, verbose=0)
    columns = X[:, ~ZERO.ravel()].astype("float64")
    theirs = LinearRegression(fit_intercept=False).fit(columns, noisy)
    ours = kernel(model)[~ZERO]
    np.testing.assert_allclose(ours, theirs.coef_.ravel(), rtol=1e-4)


def test_penalty_is_off_and_comes_back():
    model = network()
    assert sum(kreg.penalties(model).values()) > 0
    kreg.freeze_support(model)
    assert fit(model).history["penalty"] == [0.0] * 3
    assert set(kreg.penalties(model).values()) == {0.0}
    (reading,) = kreg.statistics.read(model).weights
    assert reading.strengths == {"l1": 0.0}
    kreg.unfreeze_support(model)
    expected = 0.5 * np.abs(kernel(model)).sum()
    history = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert history["penalty"] == pytest.approx(expected, rel=1e-5)


def test_unfrozen_penalty_acts_like_one_that_never_slept():
    trained = []
    for frozen in (True, False):
        model = network(optimizer="momentum")
        kreg.bind(model)
        if frozen:
            kreg.freeze_support(model)
            kreg.unfreeze_support(model)
        keras.utils.set_random_seed(0)
        fit(model)
        trained.append(kernel(model))
    np.testing.assert_array_equal(*trained)


@pytest.mark.parametrize("optimizer", ["proximal", "adam", "momentum"])
def test_what_the_optimizer_remembers_at_zeros_is_cleared(optimizer):
    model = network(optimizer, penalty=kreg.L1(0.0))
    kreg.bind(model)
    fit(model)
    model.set_weights([W])
    kreg.freeze_support(model)
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    remembered = slots(inner, model.weights[0])
    assert remembered
    for slot in remembered:
        value = keras.ops.convert_to_numpy(slot)
        assert not value[ZERO].any()
        assert value[~ZERO].all()


@pytest.mark.thorough
def test_works_after_load(tmp_path):
    model = network()
    kreg.freeze_support(model)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config()["kernel_constraint"] is None
    assert kreg.freeze_support(loaded) == {loaded.weights[0].path: 3}
    fit(loaded)
    np.testing.assert_array_equal(kernel(loaded) == 0.0, ZERO)


def test_between_two_fits_that_are_already_traced():
    model = network("adam", penalty=kreg.L1(0.0))
    kreg.bind(model)
    fit(model, epochs=1)
    assert (kernel(model) != 0).all()
    model.set_weights([W])
    kreg.freeze_support(model)
    fit(model, epochs=1)
    np.testing.assert_array_equal(kernel(model) == 0.0, ZERO)


def test_the_second_call_takes_the_zeros_of_then():
    model = network()
    kreg.freeze_support(model)
    fewer = W.copy()
    fewer[0] = 0.0
    model.set_weights([fewer])
    assert list(kreg.freeze_support(model).values()) == [4]
    fit(model)
    np.testing.assert_array_equal(kernel(model) == 0.0, fewer == 0.0)


def test_own_constraint_goes_on():
    model = network(kernel_constraint=keras.constraints.MaxNorm(0.5))
    kreg.freeze_support(model)
    fit(model)
    np.testing.assert_array_equal(kernel(model) == 0.0, ZERO)
    assert np.linalg.norm(kernel(model)) <= 0.5 + 1e-5
    kreg.unfreeze_support(model)
    constraint = model.layers[0].kernel.constraint
    assert isinstance(constraint, keras.constraints.MaxNorm)


def test_weights_without_a_kreg_penalty_are_frozen_when_named():
    model = network("adam", penalty=keras.regularizers.L2(0.1))
    with pytest.raises(ValueError, match="`weights` must name"):
        kreg.freeze_support(model)
    kreg.freeze_support(model, [model.layers[0]])
    fit(model)
    np.testing.assert_array_equal(kernel(model) == 0.0, ZERO)


def test_zero_biases_are_left_alone():
    layer = keras.layers.Dense(1, kernel_regularizer=kreg.L1(0.1))
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile("adam", "mse")
    assert list(kreg.freeze_support(model)) == [layer.kernel.path]
    fit(model)
    assert model.get_weights()[1] != 0.0


def test_moving_averages_are_refused_where_they_undo_zeros():
    model = network()
    model.compile(keras.optimizers.Adam(use_ema=True), "mse")
    with pytest.raises(ValueError, match=r"`use_ema`.*Received"):
        kreg.freeze_support(model)
    assert model.weights[0].constraint is None


def test_model_that_is_not_compiled():
    model = network()
    fresh = keras.models.clone_model(model)
    fresh.set_weights([W])
    assert list(kreg.freeze_support(fresh).values()) == [3]
    fresh.compile("adam", "mse")
    fit(fresh)
    np.testing.assert_array_equal(kernel(fresh) == 0.0, ZERO)


@pytest.mark.thorough
def test_averages_keep_named_zeros_without_a_penalty():
    inner = keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)
    model = network(penalty=keras.regularizers.L2(0.0))
    model.compile(kreg.ProximalOptimizer(inner), "mse")
    kreg.freeze_support(model, [model.layers[0]])
    fit(model)
    np.testing.assert_array_equal(kernel(model) == 0.0, ZERO)


def test_averages_of_one_of_several_optimizers_are_refused():
    average = keras.optimizers.SGD(0.05, use_ema=True)
    choice = keras.optimizers.OptimizerMap(average)
    model = network()
    model.compile(keras.optimizers.MultiOptimizer(choice), "mse")
    with pytest.raises(ValueError, match="`use_ema`"):
        kreg.freeze_support(model)


def test_optimizer_of_a_custom_loop_forgets_too():
    model = network(penalty=kreg.L1(0.0))
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    kreg.bind(model, optimizer)
    gradient = keras.ops.ones((6, 1))
    optimizer.apply([gradient], model.trainable_weights)
    model.set_weights([W])
    kreg.freeze_support(model)
    (momentum,) = slots(optimizer, model.weights[0])
    assert not keras.ops.convert_to_numpy(momentum)[ZERO].any()
    optimizer.apply([gradient], model.trainable_weights)
    np.testing.assert_array_equal(kernel(model) == 0.0, ZERO)


def test_another_model_with_the_same_layer_is_frozen_too():
    model = network("adam", penalty=kreg.L1(0.0))
    kreg.bind(model)
    fit(model, epochs=1)
    model.set_weights([W])
    inputs = keras.Input((6,))
    other = keras.Model(inputs, model.layers[0](inputs))
    kreg.freeze_support(other)
    fit(model)
    np.testing.assert_array_equal(kernel(model) == 0.0, ZERO)


def test_weight_that_the_optimizer_was_built_without():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(
                3, kernel_regularizer=kreg.L1(), trainable=False
            ),
            keras.layers.Dense(1, kernel_regularizer=kreg.L1()),
        ]
    )
    model.compile("adam", "mse")
    fit(model, epochs=1)
    model.layers[0].trainable = True
    assert len(kreg.freeze_support(model)) == 2


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        (["dense"], TypeError),
        ([keras.layers.Dense(1)], ValueError),
        ([3], TypeError),
    ],
)
def test_what_is_no_weight_of_the_model_is_refused(weights, error):
    if error is ValueError:
        weights[0].build((None, 2))
    model = network()
    with pytest.raises(error, match="`weights` must hold variables and layers"):
        kreg.freeze_support(model, weights)
    assert model.weights[0].constraint is None


def test_model_that_is_not_built_is_refused():
    model = keras.Sequential(
        [keras.layers.Dense(1, kernel_regularizer=kreg.L1())]
    )
    with pytest.raises(ValueError, match="`model` must be built"):
        kreg.freeze_support(model)
