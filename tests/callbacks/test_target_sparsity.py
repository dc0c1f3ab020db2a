"""TargetSparsity through a real `fit`."""

import re

import keras
import numpy as np
import pytest
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(512, 200)).astype("float32")
# Inputs of all importances, so that every sparsity has a strength.
Y = X @ np.geomspace(1.0, 1e-2, 200, dtype="float32")[:, None]
# A weight of these small models is half a point; the benchmark is stricter.
NEAR = 0.025
pytestmark = pytest.mark.filterwarnings("ignore:TargetSparsity")


def dense(penalty, units=1, **arguments):
    return keras.layers.Dense(units, kernel_regularizer=penalty, **arguments)


def regression(*layers, optimizer=None, **arguments):
    model = keras.Sequential([keras.Input((200,)), *layers])
    optimizer = optimizer or keras.optimizers.Adam(0.01)
    model.compile(kreg.ProximalOptimizer(optimizer), "mse", **arguments)
    return model


def fit(model, *callbacks, epochs=60, y=Y, **arguments):
    return model.fit(
        X,
        y,
        **{"batch_size": 64, **arguments},
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
    ).history


def sparsity(*variables):
    zeros = [np.asarray(keras.ops.convert_to_numpy(v)) == 0 for v in variables]
    return sum(z.sum() for z in zeros) / sum(z.size for z in zeros)


class Strengths(keras.callbacks.Callback):
    """The strength of a penalty after each batch."""

    def __init__(self, penalty):
        super().__init__()
        self.penalty = penalty
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        (strength,) = self.penalty.strengths(step).values()
        self.values.append(float(keras.ops.convert_to_numpy(strength)))

    @property
    def late_movement(self):
        late = self.values[int(0.9 * len(self.values)) :]
        return max(late) / min(late) - 1.0


@pytest.mark.parametrize("strength", few_of([1e-5, 1e-2, 10.0], 10.0))
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.Adam(0.01),
        pytest.param(
            lambda: keras.optimizers.SGD(0.01, momentum=0.9),
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["adam", "momentum"],
)
def test_ends_at_the_target(optimizer, strength):
    model = regression(dense(kreg.L1(strength)), optimizer=optimizer())
    fit(model, kreg.TargetSparsity(0.9))
    assert sparsity(model.layers[0].kernel) == pytest.approx(0.9, abs=NEAR)


@pytest.mark.thorough
def test_strength_rests_over_the_last_tenth():
    penalty = kreg.L1(1e-3)
    strengths = Strengths(penalty)
    fit(regression(dense(penalty)), kreg.TargetSparsity(0.9), strengths)
    assert strengths.late_movement < 0.05


class Batches(keras.callbacks.Callback):
    """How many batches there were."""

    count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1


@pytest.mark.slow
def test_ends_at_most_a_fiftieth_early_and_in_the_last_epoch():
    batches = Batches()
    history = fit(
        regression(dense(kreg.L1(1e-3))),
        kreg.TargetSparsity(0.9),
        batches,
        epochs=100,
    )
    assert len(history["loss"]) == 100
    assert 0.98 * 800 <= batches.count < 800


@pytest.mark.slow
def test_trains_to_the_end_if_told_so():
    batches = Batches()
    callback = kreg.TargetSparsity(0.9, stop_at_target=False)
    fit(regression(dense(kreg.L1(1e-3))), callback, batches, epochs=100)
    assert batches.count == 800


def test_no_weight_is_set_by_the_callback():
    class Kept(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kept.append(self.model.get_weights())

    kept = []
    model = regression(dense(kreg.L1(1e-3)))
    fit(model, Kept(), kreg.TargetSparsity(0.5), Kept(), epochs=5)
    for before, after in zip(kept[::2], kept[1::2], strict=True):
        for b, a in zip(before, after, strict=True):
            np.testing.assert_array_equal(b, a)


@pytest.mark.skipif(BACKEND == "torch", reason="torch traces nothing")
@pytest.mark.slow
def test_the_train_step_is_traced_once():
    class Counting(keras.Sequential):
        traces = 0

        def compute_loss(self, *args, **kwargs):
            Counting.traces += 1
            return super().compute_loss(*args, **kwargs)

    model = Counting([keras.Input((200,)), dense(kreg.L1(1e-3))])
    model.compile(kreg.ProximalOptimizer("adam"), "mse")
    kreg.bind(model)
    fit(model, epochs=1)
    traces = Counting.traces
    fit(model, kreg.TargetSparsity(0.5), epochs=4)
    assert Counting.traces == traces


@pytest.mark.thorough
def test_logs_its_figures():
    model = regression(dense(kreg.L1(1e-3)))
    history = fit(model, kreg.TargetSparsity(0.9))
    assert history["steered_sparsity"][-1] == sparsity(model.layers[0].kernel)
    assert history["target_sparsity"][-1] == pytest.approx(0.9)
    assert history["target_sparsity"] == sorted(history["target_sparsity"])
    multiplier = model.layers[0].kernel_regularizer.multiplier
    assert history["strength_multiplier"][-1] == multiplier


def test_verbose_prints_them(capsys):
    model = regression(dense(kreg.L1(1e-3)))
    fit(model, kreg.TargetSparsity(0.9, verbose=1), epochs=5)
    assert "Epoch 5: steered_sparsity: 0." in capsys.readouterr().out


@pytest.mark.thorough
def test_steers_chosen_weights_alone():
    steered, other = kreg.L1(1e-3), kreg.L1(1e-3)
    layer = dense(steered, 4)
    model = regression(layer, dense(other))
    fit(model, kreg.TargetSparsity(0.9, [layer]))
    assert sparsity(layer.kernel) == pytest.approx(0.9, abs=NEAR)
    assert steered.multiplier != 1.0
    assert other.multiplier == 1.0


@pytest.mark.slow
def test_weights_together_end_at_the_target():
    model = regression(
        dense(kreg.L1(1e-3), 8, activation="relu"), dense(kreg.L1(1e-2), 4)
    )
    model.layers[1].kernel_regularizer.multiplier = 3.0
    fit(model, kreg.TargetSparsity(0.8), epochs=100)
    first, second = model.layers
    assert sparsity(first.kernel, second.kernel) == pytest.approx(0.8, abs=NEAR)
    ratio = (
        second.kernel_regularizer.multiplier
        / first.kernel_regularizer.multiplier
    )
    assert ratio == pytest.approx(3.0)


@pytest.mark.slow
def test_each_layer_ends_at_the_target():
    model = regression(
        dense(kreg.L1(1e-3), 8, activation="relu"),
        dense(kreg.L1(1e-3), 4),
    )
    fit(model, kreg.TargetSparsity(0.75, per_layer=True))
    for layer in model.layers:
        assert sparsity(layer.kernel) == pytest.approx(0.75, abs=NEAR)


@pytest.mark.slow
def test_dead_units():
    model = regression(
        dense(kreg.GroupLasso(1e-3), 40, activation="relu"),
        dense(None, kernel_initializer="ones", trainable=False),
    )
    history = fit(model, kreg.TargetSparsity(0.5, units=True), epochs=100)
    reading = kreg.statistics.read(model).weights[0]
    assert reading.dead_units / reading.units == history["steered_sparsity"][-1]
    assert reading.dead_units == pytest.approx(20, abs=2)


@pytest.mark.slow
def test_strength_is_steered_through_a_moving_base():
    ramp = kreg.schedules.GeometricRamp(0.3, 1.0, steps=480)
    penalty = kreg.L1(ramp)
    strengths = Strengths(penalty)
    model = regression(dense(penalty))
    fit(model, kreg.TargetSparsity(0.9), strengths)
    assert sparsity(model.layers[0].kernel) == pytest.approx(0.9, abs=NEAR)
    assert strengths.late_movement < 0.05


@pytest.mark.slow
def test_waits_for_a_base_that_starts_at_zero():
    late = kreg.schedules.Delay(
        kreg.schedules.LinearRamp(0.0, 1e-2, steps=100), steps=50
    )
    model = regression(dense(kreg.L1(late)))
    fit(model, kreg.TargetSparsity(0.9))
    assert sparsity(model.layers[0].kernel) == pytest.approx(0.9, abs=NEAR)


@pytest.mark.thorough
def test_second_fit_goes_on_from_the_strength_that_was_found():
    penalty = kreg.L1(1e-3)
    model = regression(dense(penalty))
    fit(model, kreg.TargetSparsity(0.9))
    found, strengths = penalty.multiplier, Strengths(penalty)
    fit(model, kreg.TargetSparsity(0.9), strengths, epochs=10)
    assert strengths.values[0] == pytest.approx(1e-3 * found, rel=0.1)
    assert sparsity(model.layers[0].kernel) == pytest.approx(0.9, abs=NEAR)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:`shuffle=True`")
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_of_unknown_length():
    import tensorflow as tf

    data = tf.data.Dataset.from_generator(
        lambda: ((X[i : i + 64], Y[i : i + 64]) for i in range(0, 512, 64)),
        output_signature=(
            tf.TensorSpec((64, 200), "float32"),
            tf.TensorSpec((64, 1), "float32"),
        ),
    )
    model = regression(dense(kreg.L1(1e-3)))
    model.fit(data, epochs=60, verbose=0, callbacks=[kreg.TargetSparsity(0.9)])
    assert sparsity(model.layers[0].kernel) == pytest.approx(0.9, abs=NEAR)


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(1, marks=pytest.mark.thorough),
        pytest.param(
            4,
            marks=pytest.mark.skipif(
                BACKEND == "torch", reason="torch takes single steps"
            ),
        ),
    ],
)
@pytest.mark.parametrize(
    "jit_compile",
    few_of([False, True], True),
    ids=lambda jit: f"jit_compile={jit}",
)
def test_compiled_in_every_way(steps, jit_compile):
    model = regression(
        dense(kreg.L1(1e-3)),
        steps_per_execution=steps,
        jit_compile=jit_compile,
    )
    fit(model, kreg.TargetSparsity(0.9))
    assert sparsity(model.layers[0].kernel) == pytest.approx(0.9, abs=NEAR)


@pytest.mark.slow
def test_goes_on_from_a_saved_model(tmp_path):
    """Saved at an epoch's end, loaded, and trained to the end."""
    path = tmp_path / "model.keras"
    model = regression(dense(kreg.L1(1e-3)))
    save = keras.callbacks.ModelCheckpoint(path)
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(
            model, "stop_training", epoch == 20
        )
    )
    with pytest.warns(UserWarning, match="stopped after 35% of its epochs"):
        fit(model, kreg.TargetSparsity(0.9), save, stop)
    loaded = keras.models.load_model(path)
    penalty = loaded.layers[0].kernel_regularizer
    assert penalty.multiplier != 1.0
    strengths = Strengths(penalty)
    before = 1e-3 * penalty.multiplier
    fit(loaded, kreg.TargetSparsity(0.9), strengths, initial_epoch=21)
    assert strengths.values[0] == pytest.approx(before, rel=0.2)
    assert sparsity(loaded.layers[0].kernel) == pytest.approx(0.9, abs=NEAR)


def test_backup_path_is_no_longer_needed():
    with pytest.raises(TypeError, match=r"`backup_path`.*no longer needed"):
        kreg.TargetSparsity(0.9, backup_path="multipliers")


def told(record):
    return [str(w.message) for w in record if w.category is UserWarning]


@pytest.mark.thorough
def test_upper_bound_is_told_during_training():
    seen = []
    model = regression(dense(kreg.L1(1e-3)))
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(len(told(record)))
    )
    with pytest.warns(UserWarning, match="upper bound") as record:
        fit(model, kreg.TargetSparsity(0.9, bounds=(1e-3, 1.0)), note)
    assert seen[-1] == 1
    early, late = told(record)
    assert early.startswith("TargetSparsity(0.9) is out of reach in")
    assert late.startswith("TargetSparsity(0.9) was not reached in")


def falling_to_zero():
    """A rate that is 0 for the second half of 480 updates."""
    return keras.optimizers.schedules.CosineDecay(0.01, 240)


# Optimizers and targets that drive the multiplier to a bound, but for a reason
# that no bound can mend, and how it is told.
STUCK = {
    "rate of 0": (lambda: keras.optimizers.Adam(0.0), Y, "learning rate is 0"),
    "SGD with a rate of 0": (
        lambda: keras.optimizers.SGD(0.0, momentum=0.9),
        Y,
        "learning rate is 0",
    ),
    "rate that falls to 0": (
        lambda: keras.optimizers.Adam(falling_to_zero()),
        Y,
        "learning rate is 0",
    ),
    "NaN weights": (
        lambda: keras.optimizers.Adam(0.01),
        np.full_like(Y, np.nan),
        "hold NaN or infinite",
    ),
    "too large a rate": (
        lambda: keras.optimizers.SGD(1e3),
        Y,
        "hold NaN or infinite",
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("case", few_of(STUCK, "NaN weights"))
def test_what_bounds_cannot_mend_is_told_as_it_is(case):
    make, y, said = STUCK[case]
    model = regression(dense(kreg.L1(1e-3)), optimizer=make())
    with pytest.warns(UserWarning, match=said) as record:
        fit(model, kreg.TargetSparsity(0.99), y=y)
    assert len(told(record)) in (1, 2)
    assert all(re.search(said, message) for message in told(record))


@pytest.mark.thorough
def test_updates_that_loss_scaling_leaves_out_are_told():
    model = regression(dense(kreg.L1(1e-3)))
    scaled = keras.optimizers.LossScaleOptimizer(
        kreg.ProximalOptimizer(keras.optimizers.Adam(0.01))
    )
    model.compile(scaled, "mse")
    with pytest.warns(UserWarning, match="updates are left out"):
        fit(model, kreg.TargetSparsity(0.9), y=np.full_like(Y, np.inf))


@pytest.mark.thorough
def test_lower_bound_is_told():
    model = regression(dense(kreg.L1(10.0)))
    with pytest.warns(UserWarning, match="lower bound"):
        fit(model, kreg.TargetSparsity(0.1, bounds=(1.0, 2.0)))


def test_short_training_is_told():
    model = regression(dense(kreg.L1(1e-3)))
    with pytest.warns(UserWarning, match="8 updates were too few"):
        fit(model, kreg.TargetSparsity(0.9), epochs=1)


class RestoresFirstEpoch(keras.callbacks.Callback):
    """Ends as `restore_best_weights` does if the first epoch was the best."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.first = self.model.get_weights()

    def on_train_end(self, logs=None):
        self.model.set_weights(self.first)


@pytest.mark.slow
@pytest.mark.parametrize("steers_first", few_of([True, False], True))
def test_weights_that_another_callback_restores_are_told(steers_first):
    model = regression(dense(kreg.L1(1e-3)))
    both = [kreg.TargetSparsity(0.9), RestoresFirstEpoch()]
    with pytest.warns(UserWarning, match="not reached") as record:
        fit(model, *(both if steers_first else both[::-1]))
    (said,) = told(record)
    assert "another callback changed the weights" in said
    assert f"sparsity is {sparsity(model.layers[0].kernel):.4f}" in said


def test_accumulated_gradients_are_one_update():
    model = regression(dense(kreg.L1(1e-3)))
    model.optimizer.gradient_accumulation_steps = 4
    with pytest.warns(UserWarning, match="2 updates were too few"):
        fit(model, kreg.TargetSparsity(0.9), epochs=1)


@pytest.mark.thorough
def test_accumulated_gradients_are_one_update_under_loss_scaling():
    model = regression(dense(kreg.L1(1e-3)))
    inner = keras.optimizers.Adam(0.01, gradient_accumulation_steps=4)
    scaled = keras.optimizers.LossScaleOptimizer(kreg.ProximalOptimizer(inner))
    model.compile(scaled, "mse")
    with pytest.warns(UserWarning, match="2 updates were too few"):
        fit(model, kreg.TargetSparsity(0.9), epochs=1)


def test_updates_of_an_earlier_training_do_not_count():
    model = regression(dense(kreg.L1(1e-3)))
    kreg.bind(model)
    fit(model, epochs=2)
    with pytest.warns(UserWarning, match="8 updates were too few"):
        fit(model, kreg.TargetSparsity(0.9), epochs=1)


def test_strengths_that_stay_zero_are_told():
    late = kreg.schedules.Delay(
        kreg.schedules.LinearRamp(0.0, 1e-2, steps=100), steps=50_000
    )
    model = regression(dense(kreg.L1(late)))
    with pytest.warns(UserWarning, match="every strength was 0"):
        fit(model, kreg.TargetSparsity(0.9), epochs=2)


def test_factors_that_spare_too_many_weights_are_told():
    factors = np.repeat([[0.0], [1.0]], 100, axis=0)
    model = regression(dense(kreg.L1(1e-3, factors=factors)))
    with pytest.warns(UserWarning, match=r"no more than 0\.5000"):
        fit(model, kreg.TargetSparsity(0.9), epochs=2)


def test_plain_optimizer_is_refused():
    model = keras.Sequential([keras.Input((200,)), dense(kreg.L1(1e-3))])
    model.compile("adam", "mse")
    before = model.get_weights()[0]
    with pytest.raises(ValueError, match=r"kreg\.ProximalOptimizer\(\"adam"):
        fit(model, kreg.TargetSparsity(0.9))
    np.testing.assert_array_equal(model.get_weights()[0], before)


@pytest.mark.parametrize(
    "penalty",
    [
        kreg.L2(1e-3),
        kreg.L1L2(0.0, 1e-3),
        kreg.L1(0.0),
        kreg.L1(1e-3, factors=[0.0]),
    ],
    ids=["l2", "no l1", "strength 0", "factor 0"],
)
def test_penalty_that_makes_no_zeros_is_refused(penalty):
    with pytest.raises(ValueError, match=r"penalty makes zeros"):
        fit(regression(dense(penalty)), kreg.TargetSparsity(0.9))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "penalty",
    [
        pytest.param(
            kreg.L1L2(1e-3, 1e-3), id="l1l2", marks=pytest.mark.thorough
        ),
        pytest.param(
            kreg.MCP(1e-3, gamma=0.1), id="mcp", marks=pytest.mark.thorough
        ),
        pytest.param(
            kreg.SparseGroupLasso(1e-3, 1e-3),
            id="sparse group",
            marks=pytest.mark.thorough,
        ),
        pytest.param(kreg.GroupLasso(1e-3, "inputs"), id="group"),
    ],
)
def test_penalties_that_make_zeros(penalty):
    model = regression(dense(penalty, 3))
    fit(model, kreg.TargetSparsity(0.6), y=np.hstack([Y, -Y, Y[::-1]]))
    assert sparsity(model.layers[0].kernel) == pytest.approx(0.6, abs=NEAR)


def test_frozen_support_is_refused():
    model = regression(dense(kreg.L1(1e-3)))
    kreg.freeze_support(model)
    with pytest.raises(ValueError, match="unfreeze_support"):
        fit(model, kreg.TargetSparsity(0.9))


def test_units_of_a_bias_are_refused():
    layer = keras.layers.Dense(1, bias_regularizer=kreg.L1(1e-3))
    with pytest.raises(ValueError, match="`units=True`"):
        fit(regression(layer), kreg.TargetSparsity(0.9, units=True))


def test_shared_penalty_cannot_be_steered_in_part():
    penalty = kreg.L1(1e-3)
    model = regression(dense(penalty, 4), dense(penalty))
    with pytest.raises(ValueError, match="`weights` must hold all"):
        fit(model, kreg.TargetSparsity(0.9, [model.layers[0]]))


@pytest.mark.parametrize("target", [-0.1, 1.0, 90, float("nan")])
def test_target_must_be_a_fraction(target):
    with pytest.raises(ValueError, match="`target` must be"):
        kreg.TargetSparsity(target)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (1.0, -1.0)])
def test_bounds_must_be_positive_and_in_order(bounds):
    with pytest.raises(ValueError, match="`bounds"):
        kreg.TargetSparsity(0.9, bounds=bounds)


def test_bounds_must_be_two():
    with pytest.raises(TypeError, match="`bounds` must be two numbers"):
        kreg.TargetSparsity(0.9, bounds=1.0)


@pytest.mark.thorough
def test_strengths_that_end_at_zero_are_told_with_the_time():
    falling = kreg.schedules.LinearRamp(1e-2, 0.0, steps=48)
    model = regression(dense(kreg.L1(falling)))
    with pytest.warns(UserWarning, match="was 0 after 1[01]% of the training"):
        fit(model, kreg.TargetSparsity(0.9))


@pytest.mark.thorough
def test_a_strength_of_zero_that_no_update_uses_is_no_reason():
    rising = kreg.schedules.LinearRamp(0.0, 1e-3, steps=20)
    model = regression(dense(kreg.L1(kreg.schedules.Cycle(rising, 20))))
    with pytest.warns(UserWarning, match="was not reached") as record:
        fit(model, kreg.TargetSparsity(0.9))
    assert int(model.optimizer.iterations) % 20 == 0
    assert not any("was 0 after" in message for message in told(record))


def with_dead_units():
    """A network whose first layer feeds 4 of 8 units that never fire."""
    model = regression(
        dense(kreg.L1(1e-4), 8, activation="relu"), dense(kreg.L1(1e-4))
    )
    first, second = model.layers
    kernel, bias = (np.array(w) for w in first.get_weights())
    kernel[:, :4] = 0.0
    first.set_weights([kernel, np.where(np.arange(8) < 4, -1.0, bias)])
    output, offset = (np.array(w) for w in second.get_weights())
    output[:4] = 0.0
    second.set_weights([output, offset])
    return model


@pytest.mark.thorough
def test_zeros_that_no_strength_brings_back_are_told():
    model = with_dead_units()
    with pytest.warns(UserWarning, match="no strength brings them b") as record:
        fit(model, kreg.TargetSparsity(0.2), epochs=30)
    assert not any("lower `bounds`" in message for message in told(record))
    assert (model.layers[0].get_weights()[0][:, :4] == 0.0).all()


@pytest.mark.thorough
def test_a_strength_that_is_far_too_low_is_chosen_anew():
    model = with_dead_units()
    for layer in model.layers:
        layer.kernel_regularizer.multiplier = 1e-9
    fit(model, kreg.TargetSparsity(0.8))
    first, second = model.layers
    # Half of the weights are dead, so each of the others counts double.
    reached = sparsity(first.kernel, second.kernel)
    assert reached == pytest.approx(0.8, abs=2 * NEAR)
