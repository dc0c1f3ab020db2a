"""The promises of a path other than its solutions."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.preprocessing import scale
from thorough import few_of

import kreg
from kreg.selection import StrengthGrid, Training, path
from kreg.selection.data.rows import training_data

STRENGTHS = [1e-3, 1e-2, 1e-1]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype("float32")
Y = (X[:, 0] > X[:, 3]).astype("float32")


def network(optimizer="adam", metrics=()):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, "relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(
        keras.optimizers.get(optimizer),
        "binary_crossentropy",
        metrics=list(metrics),
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def linear():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(
        optimizer, "mse", jit_compile=keras.backend.backend() == "jax"
    )
    return model


def run(
    build_model=network,
    data=(X, Y),
    penalty=kreg.L1,
    strengths=STRENGTHS,
    *,
    validation=None,
    seed=0,
    **training,
):
    return path(
        build_model,
        data,
        penalty,
        strengths,
        training=Training(**{"epochs": 3, "tolerance": None, **training}),
        validation=validation,
        seed=seed,
        verbose=0,
    )


def assert_same_weights(first, second):
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.thorough
def test_linear_model_goes_down_and_network_up():
    down = [p.strength for p in run(linear).points]
    up = [p.strength for p in run().points]
    assert down == STRENGTHS[::-1]
    assert up == STRENGTHS


@pytest.mark.thorough
def test_grid_of_a_linear_model_starts_at_zero_weights():
    result = run(
        linear,
        (X, Y),
        kreg.L1,
        StrengthGrid(4, ratio=0.01),
        epochs=300,
        batch_size=None,
    )
    assert result.points[0].nonzeros == 0
    np.testing.assert_allclose(
        [p.fraction for p in result.points],
        [1.0, 0.01 ** (1 / 3), 0.01 ** (2 / 3), 0.01],
    )


@pytest.mark.thorough
def test_grid_of_a_network_starts_from_a_dense_model():
    result = run(network, (X, Y), kreg.L1, StrengthGrid(3))
    assert result.start.strength == 0.0
    assert result.start.sparsity == 0.0
    fractions = [point.fraction for point in result.points]
    np.testing.assert_allclose(fractions, [1e-3, 1e-3**0.5, 1.0])


def test_penalty_without_zeros_has_a_grid_too():
    result = run(
        linear,
        (X, Y),
        kreg.L2,
        StrengthGrid(2),
        epochs=200,
        batch_size=None,
    )
    sizes = [np.linalg.norm(weights[0]) for weights in result.weights]
    assert result.strength_max is None
    assert 0.05 * sizes[-1] < sizes[0] < 0.15 * sizes[-1]


@pytest.mark.thorough
@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="torch runs every step"
)
@pytest.mark.parametrize("build_model", few_of([linear, network], network))
def test_training_step_is_traced_once_for_all_strengths(build_model):
    traces = []

    class Counted(keras.layers.Layer):
        def call(self, x, training=None):
            if training:
                traces.append(x)
            return x

    def counted():
        model = build_model()
        inner = keras.Sequential([keras.Input((5,)), Counted(), model])
        inner.compile(
            model.optimizer,
            model.loss,
            jit_compile=keras.backend.backend() == "jax",
        )
        return inner

    counts = []
    for number in (1, 6):
        traces.clear()
        strengths = np.geomspace(1e-4, 1e-2, number)
        run(counted, (X, Y), kreg.L1, strengths, batch_size=20)
        counts.append(len(traces))
    assert counts[0] == counts[1]


@pytest.mark.thorough
def test_same_seed_same_path():
    assert_same_weights(run(seed=4), run(seed=4))


@pytest.mark.slow
def test_another_seed_another_path():
    first, second = run(seed=4), run(seed=5)
    assert not np.array_equal(first.weights[0][0], second.weights[0][0])


@pytest.mark.thorough
def test_validation_data_change_no_weight():
    planted = (X, 1.0 - Y)
    first, second = (
        run(validation=part, monitor="loss") for part in [(X, Y), planted]
    )
    assert_same_weights(first, second)
    assert first.points[-1].validation != second.points[-1].validation


@pytest.mark.slow
def test_patience_is_what_validation_data_act_through():
    first, second = (
        run(validation=(X, y), patience=1, epochs=10, batch_size=2)
        for y in (Y, 1.0 - Y)
    )
    assert [p.epochs for p in first.points] != [p.epochs for p in second.points]


@pytest.mark.thorough
def test_validation_rows_are_in_no_gradient():
    target = X[:, 0].copy()
    split = {"validation": 0.25}
    held = training_data((np.arange(60), target), **split).validation
    x, y = X.copy(), target.copy()
    x[held.x] += 100.0
    y[held.x] -= 100.0
    first, second = (
        run(linear, part, batch_size=None, **split)
        for part in [(X, target), (x, y)]
    )
    assert_same_weights(first, second)


@pytest.mark.thorough
def test_figures_are_those_of_the_weights():
    result = run(metrics_network, validation=0.25, monitor="accuracy")
    held = training_data((X, Y), validation=0.25)
    model = network(metrics=["accuracy"])
    for point, weights in zip(result.points, result.weights, strict=True):
        model.set_weights(weights)
        for part, figures in [
            (held.train, point.train),
            (held.validation, point.validation),
        ]:
            loss, accuracy = model.evaluate(part.x, part.y, verbose=0)
            assert figures["data_loss"] == pytest.approx(loss, rel=1e-5)
            assert figures["accuracy"] == pytest.approx(accuracy)
        kernels = np.concatenate([weights[0].ravel(), weights[2].ravel()])
        assert point.nonzeros == np.count_nonzero(kernels)
        assert point.sparsity == pytest.approx((kernels == 0).mean())
        read = np.flatnonzero((weights[0] != 0).any(axis=1))
        assert point.selected_inputs == tuple(read)
        norm = np.abs(kernels).sum()
        assert point.train["penalty"] == pytest.approx(
            point.strength * norm, rel=1e-5
        )


def metrics_network():
    return network(metrics=["accuracy"])


def quick_network():
    return network(keras.optimizers.Adam(0.02))


def test_penalty_goes_where_it_is_told():
    result = run(
        quick_network,
        penalty=(kreg.L1, lambda v: v.shape[-1] == 6 and "k" in v.path),
    )
    first, _, last, _ = result.weights[-1]
    assert (first == 0).any()
    assert (last != 0).all()


@pytest.mark.thorough
def test_refit_keeps_the_zeros_and_lowers_the_loss():
    x, y = scale(load_breast_cancer().data), load_breast_cancer().target

    def build_model():
        model = keras.Sequential(
            [keras.Input((30,)), keras.layers.Dense(1, "sigmoid")]
        )
        optimizer = keras.optimizers.SGD(0.2, momentum=0.9)
        model.compile(
            optimizer,
            "binary_crossentropy",
            jit_compile=keras.backend.backend() == "jax",
        )
        return model

    plain, refitted = (
        run(
            build_model,
            (x, y),
            kreg.L1,
            [0.2, 0.05],
            epochs=200,
            batch_size=None,
            refit=refit,
        )
        for refit in (False, True)
    )
    for before, after in zip(plain.weights, refitted.weights, strict=True):
        np.testing.assert_array_equal(before[0] == 0, after[0] == 0)
    for before, after in zip(plain.points, refitted.points, strict=True):
        assert after.train["data_loss"] < before.train["data_loss"]
        assert after.train["penalty"] == 0.0


@pytest.mark.thorough
def test_datasets_are_gone_through():
    class Batches(keras.utils.PyDataset):
        @property
        def num_batches(self):
            return 3

        def __getitem__(self, index):
            rows = slice(20 * index, 20 * index + 20)
            return X[rows], Y[rows]

    result = run(quick_network, Batches(), validation=Batches())
    steps = [point.steps for point in result.points]
    assert steps == [9, 9, 9]
    assert result.points[-1].sparsity > 0.0


def test_tolerance_ends_training_early():
    result = run(
        linear,
        (X, Y),
        kreg.L1,
        [0.1],
        epochs=5000,
        batch_size=None,
        tolerance=1e-4,
    )
    assert result.points[0].converged
    assert result.points[0].steps < 1000


@pytest.mark.thorough
def test_no_minimum_is_seen_early_where_inputs_are_far_from_zero():
    """Their gradient at the first weights is large, and so no measure."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(100, 5)).astype("float32")
    x = noise + np.array([0.0, 10.0, 0.0, -5.0, 100.0], "float32")
    y = noise @ np.array([2.0, 0.0, -1.0, 0.3, 0.0], "float32") + 5.0

    def build_model():
        layer = keras.layers.Dense(1, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((5,)), layer])
        model.compile(keras.optimizers.Adam(0.05), "mse")
        return model

    result = run(
        build_model,
        (x, y[:, None]),
        strengths=[2.0, 1.0, 0.3],
        epochs=300,
        batch_size=None,
        tolerance=1e-4,
    )
    for point in result.points:
        assert not point.converged or point.optimality < 1e-2


@pytest.mark.thorough
def test_mixed_precision_keeps_its_loss_scale():
    keras.config.set_dtype_policy("mixed_float16")
    result = run(penalty=kreg.L1, epochs=20)
    assert result.points[-1].sparsity > 0.0
    assert np.isfinite(result.points[-1].train["data_loss"])


@pytest.mark.slow
def test_network_of_the_digits_loses_most_inputs():
    images, labels = load_digits(return_X_y=True)

    def build_model():
        model = keras.Sequential(
            [
                keras.Input((64,)),
                keras.layers.Dense(32, "relu"),
                keras.layers.Dense(10, "softmax"),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy"
        )
        return model

    result = run(
        build_model,
        (images / 16, labels),
        (lambda s: kreg.GroupLasso(s, "inputs"), "dense*"),
        StrengthGrid(4),
        epochs=60,
        batch_size=200,
    )
    numbers = [len(point.selected_inputs) for point in result.points]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > 32
    assert numbers[-1] < 0.5 * numbers[0]


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [kreg.L1, kreg.L2])
def test_grid_of_a_normalized_network_is_where_accuracy_falls(penalty):
    images, labels = load_digits(return_X_y=True)
    layers = keras.layers

    def build_model():
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(8, 3, padding="same", use_bias=False),
                layers.BatchNormalization(momentum=0.9),
                layers.ReLU(),
                layers.Conv2D(16, 3, use_bias=False),
                layers.BatchNormalization(momentum=0.9),
                layers.ReLU(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(10, "softmax"),
            ]
        )
        model.compile(
            keras.optimizers.Adam(5e-3),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=keras.backend.backend() == "jax",
        )
        return model

    result = run(
        build_model,
        (images.reshape(-1, 8, 8, 1) / 16, labels),
        penalty,
        StrengthGrid(5),
        epochs=10,
        batch_size=64,
    )
    reached = [point.train["accuracy"] for point in result.points]
    assert reached[0] > 0.9
    assert 0.15 < reached[-1] < reached[0] - 0.02


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "`epochs` must be a positive integer"),
        ({"seed": -1}, ValueError, "`seed` must be"),
        ({"monitor": "auc"}, ValueError, "`monitor` must be a metric"),
        ({"tolerance": -1.0}, ValueError, "`tolerance` must be"),
        ({"monitor": 3}, TypeError, "`monitor` must be the name"),
        ({"patience": 0}, ValueError, "`patience` must be"),
        ({"batch_size": 1.5}, TypeError, "`batch_size` must be"),
        ({"refit": 1}, TypeError, "`refit` must be True or False"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        run(validation=0.2, **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num": 0}, ValueError, "`num` must be a positive integer"),
        ({"ratio": 1.0}, ValueError, "`ratio` must be below 1"),
        ({"direction": "left"}, ValueError, "`direction` must be"),
        ({"values": []}, ValueError, "`values` must hold at least one"),
        ({"values": "auto"}, TypeError, "`values` must be an iterable"),
        (
            {"values": [0.1], "num": 2},
            ValueError,
            "`values` cannot be combined",
        ),
    ],
)
def test_bad_grids_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        StrengthGrid(**arguments)


def test_a_list_of_strengths_may_have_a_direction():
    grid = StrengthGrid(values=STRENGTHS, direction="up")
    assert [p.strength for p in run(linear, strengths=grid).points] == STRENGTHS


def test_what_is_no_training_is_refused():
    with pytest.raises(TypeError, match="`training` must be a"):
        path(network, (X, Y), kreg.L1, training={"epochs": 3})


def test_an_unknown_monitor_is_refused_without_validation_data():
    with pytest.raises(ValueError, match="such as 'data_loss', 'loss'"):
        run(monitor="auc")


@pytest.mark.parametrize("strengths", [[], [0.1, 0.1], [-1.0]])
def test_bad_strengths_are_refused(strengths):
    with pytest.raises(ValueError, match="`strengths` must hold at least one"):
        run(network, (X, Y), kreg.L1, strengths)


@pytest.mark.parametrize(
    ("penalty", "error", "message"),
    [
        (kreg.L1(0.1), TypeError, "must be a function of a strength"),
        (keras.regularizers.L1, TypeError, "must return a kreg penalty"),
        (lambda s: kreg.L1(s**2), ValueError, "proportional to the strength"),
        (lambda s: kreg.L1(0.1), ValueError, "depends on the strength"),
        (
            lambda s: kreg.L1(kreg.schedules.LinearRamp(0.0, s, steps=2)),
            ValueError,
            "fixed strengths",
        ),
    ],
)
def test_bad_penalties_are_refused(penalty, error, message):
    with pytest.raises(error, match=message):
        run(penalty=penalty)


def test_bad_models_are_refused():
    model = network()
    run(lambda: model)
    with pytest.raises(ValueError, match="must return a new model"):
        run(lambda: model)
    with pytest.raises(TypeError, match="function without arguments"):
        run(model)
    with pytest.raises(ValueError, match="a model that is built"):
        run(lambda: keras.Sequential([keras.layers.Dense(1)]))
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="a compiled model"):
        run(lambda: plain)


@pytest.mark.thorough
def test_an_optimizer_that_models_share_is_refused():
    optimizer = keras.optimizers.Adam()
    run(lambda: network(optimizer))
    with pytest.raises(ValueError, match="must create a new optimizer"):
        run(lambda: network(optimizer))


def with_base(base):
    """A model whose layers are made outside `build_model`."""
    model = keras.Sequential([base, keras.layers.Dense(1, "sigmoid")])
    model.compile(
        "adam",
        "binary_crossentropy",
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


@pytest.mark.thorough
def test_weights_that_models_share_are_refused_unless_they_are_frozen():
    layers = [keras.layers.Dense(6), keras.layers.BatchNormalization()]
    base = keras.Sequential([keras.Input((5,)), *layers])
    run(lambda: with_base(base))
    with pytest.raises(ValueError, match=r"its own weights.*dense.*kernel"):
        run(lambda: with_base(base))
    base.trainable = False
    before = base.get_weights()
    assert_same_weights(*(run(lambda: with_base(base)) for _ in range(2)))
    for ours, theirs in zip(base.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_other_architecture_is_refused():
    widths = iter([3, 4])

    def build_model():
        layer = keras.layers.Dense(next(widths))
        model = keras.Sequential([keras.Input((5,)), layer])
        model.compile("adam", "mse")
        return model

    with pytest.raises(ValueError, match="models of one architecture"):
        run(build_model, refit=True)


def test_network_from_zero_is_refused():
    with pytest.raises(ValueError, match="`direction` must be"):
        run(strengths=StrengthGrid(direction="down"))
