"""Training steps of their own: each weight follows its own optimizer."""

import keras
import numpy as np
import pytest
from binding.own_loops import GAN, LOOPS, VAE, WGAN
from event_files import events
from keras import layers, ops
from thorough import few_of

import kreg

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="Keras passes one optimizer through a step of JAX",
)

BATCHES, EPOCHS, STRENGTH, STEPS = 3, 2, 0.05, 8
X = np.random.default_rng(0).normal(size=(8 * BATCHES, 4)).astype("float32")
# What the monitor says where it does not log by `model.optimizer`.
OTHER_STEP = "ignore:.*so the steps of the log are the updates"

LOOP = few_of(LOOPS, WGAN)


def strength(step):
    return STRENGTH * min(step / STEPS, 1.0)


def ramped(units, **arguments):
    ramp = kreg.schedules.LinearRamp(0.0, STRENGTH, steps=STEPS)
    return layers.Dense(units, kernel_regularizer=kreg.L1(ramp), **arguments)


def without_strength(units, **arguments):
    return layers.Dense(units, kernel_regularizer=kreg.L1(0.0), **arguments)


def adam():
    return keras.optimizers.Adam(0.02)


def proximal():
    return kreg.ProximalOptimizer(adam())


def loop_of(cls, dense=ramped, optimizer=proximal):
    keras.utils.set_random_seed(1)
    model = cls(dense, optimizer)
    if not model.compiled:
        model.compile()
    return model


def bound(model):
    kreg.bind(
        model, {part: o for part, o, _ in model.updates() if o is not None}
    )
    return model


def fit(model, *callbacks, epochs=EPOCHS):
    return model.fit(
        X,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    ).history


class Recorder(keras.callbacks.Callback):
    """Keeps the weights after every batch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_begin(self, logs=None):
        self.keep()

    def on_train_batch_end(self, batch, logs=None):
        self.keep()

    def keep(self):
        self.weights.append(
            {
                id(v): ops.convert_to_numpy(v).astype("float64")
                for v in self.model.trainable_weights
            }
        )


def updates_of(model):
    """The number of updates for each batch, by the `id` of the weight."""
    return {
        id(variable): count
        for part, _, count in model.updates()
        for variable in part.trainable_weights
    }


@pytest.mark.thorough
@pytest.mark.filterwarnings(OTHER_STEP)
@pytest.mark.parametrize("cls", LOOP)
def test_without_strength_it_trains_as_plain_keras(cls, tmp_path):
    plain = loop_of(cls, layers.Dense, adam)
    fit(plain)
    model = bound(loop_of(cls, without_strength))
    fit(model, kreg.RegularizationMonitor(tmp_path, 1))
    for ours, theirs in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), atol=1e-7
        )


@pytest.mark.filterwarnings(OTHER_STEP)
@pytest.mark.parametrize("cls", LOOP)
def test_every_figure_of_the_monitor_is_that_of_numpy(cls, tmp_path):
    model, recorder = bound(loop_of(cls)), Recorder()
    fit(model, kreg.RegularizationMonitor(tmp_path, 1), recorder)
    found, updates = events(tmp_path / "train"), updates_of(model)
    most = max(updates.values())
    assert any((w == 0).any() for w in recorder.weights[-1].values())
    for variable in model.trainable_weights:
        path = variable.path.removeprefix("loop/")
        own = updates[id(variable)]
        values = [weights[id(variable)] for weights in recorder.weights]
        expected = {
            "sparsity": [np.mean(w == 0.0) for w in values],
            "l1_norm": [np.abs(w).sum() for w in values],
            "l2_norm": [np.linalg.norm(w) for w in values],
            "max_norm": [np.abs(w).max() for w in values],
        }
        if variable.regularizer is not None:
            strengths = [strength(own * batch) for batch in range(len(values))]
            expected["strength"] = strengths
            expected["penalty"] = [
                s * np.abs(w).sum()
                for s, w in zip(strengths, values, strict=True)
            ]
        for figure, series in expected.items():
            logged = found[f"kreg_{figure}/{path}"]
            assert [s for s, _ in logged] == [
                most * batch for batch in range(len(values))
            ]
            np.testing.assert_allclose(
                [value for _, value in logged], series, rtol=2e-5, atol=1e-8
            )


@pytest.mark.thorough
@pytest.mark.parametrize("cls", LOOP)
def test_readers_ask_the_weight(cls):
    model = bound(loop_of(cls))
    fit(model)
    updates, batches = updates_of(model), BATCHES * EPOCHS
    expected = {
        v.path: strength(updates[id(v)] * batches)
        * np.abs(ops.convert_to_numpy(v)).sum()
        for v in model.trainable_weights
        if v.regularizer is not None
    }
    assert kreg.penalties(model) == pytest.approx(expected, rel=1e-5)
    for model_or_part in [model, *(p for p, _, _ in model.updates())]:
        if isinstance(model_or_part, keras.Model):
            reading = kreg.statistics.read(model_or_part)
            for weight in reading.weights:
                if weight.path in expected:
                    assert weight.penalty == pytest.approx(
                        expected[weight.path], rel=1e-5
                    )
            steps = {
                v.path: updates[id(v)] * batches
                for v in model.weights
                if updates.get(id(v))
            }
            for weight in reading.weights:
                if weight.path in steps:
                    assert weight.step == steps[weight.path]


@pytest.mark.thorough
@pytest.mark.parametrize("cls", LOOP)
def test_check_says_nothing_false(cls):
    model = bound(loop_of(cls))
    assert len(kreg.check(model)) == 0
    fit(model)
    assert len(kreg.check(model)) == 0


def plain_loop(cls):
    return loop_of(cls, optimizer=lambda: keras.optimizers.SGD(0.0))


@pytest.mark.parametrize("eagerly", few_of([False, True], True))
@pytest.mark.parametrize("cls", LOOP)
def test_optimizers_are_found_without_being_told(cls, eagerly):
    """A schedule moves with the optimizer from the second update on."""
    model = plain_loop(cls)
    model.run_eagerly = eagerly
    kreg.bind(model)
    updates = updates_of(model)

    class Losses(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            parts = [part for part, o, _ in model.updates() if o is not None]
            self.seen.append(
                [
                    [float(ops.convert_to_numpy(loss)) for loss in part.losses]
                    for part in parts
                ]
            )

    losses = Losses()
    losses.seen = []
    fit(model, losses)
    for batch, seen in enumerate(losses.seen):
        parts = [part for part, o, _ in model.updates() if o is not None]
        for part, values in zip(parts, seen, strict=True):
            weights = [
                v for v in part.trainable_weights if v.regularizer is not None
            ]
            expected = [
                strength(updates[id(v)] * (batch + 1))
                * np.abs(ops.convert_to_numpy(v)).sum()
                for v in weights
            ]
            np.testing.assert_allclose(values, expected, rtol=1e-5)


class PenaltyInStep(GAN):
    """Logs the penalty that its step has seen."""

    def train_step(self, x):
        penalty = sum(self.discriminator.losses)
        super().train_step(x)
        return {"seen": penalty}


def test_found_optimizer_is_followed_inside_the_traced_step():
    model = plain_loop(PenaltyInStep)
    kreg.bind(model)

    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(logs["seen"]))
    )
    fit(model, record)
    size = sum(
        np.abs(ops.convert_to_numpy(v)).sum()
        for v in model.discriminator.weights
        if v.regularizer is not None
    )
    expected = [strength(step) * size for step in range(BATCHES * EPOCHS)]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@pytest.mark.tensorflow
def test_several_steps_at_once_need_to_be_told():
    model = plain_loop(GAN)
    model.steps_per_execution = 2
    kreg.bind(model)
    with pytest.raises(ValueError, match=r"kreg\.bind\(model, \{model\.part"):
        fit(model)
    bound(model)
    fit(model)
    assert kreg.statistics.read(model).weights[0].step == BATCHES * EPOCHS


def test_proximal_optimizer_that_nobody_told_of_is_refused():
    model = loop_of(GAN)
    kreg.bind(model)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"kreg\.bind\(model, \{model\.part"):
        fit(model)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.thorough
def test_monitor_says_once_which_step_it_logs_by(tmp_path):
    model = bound(loop_of(GAN))
    monitor = kreg.RegularizationMonitor(tmp_path)
    with pytest.warns(UserWarning, match=r"steps of the log are the upd"):
        fit(model, monitor)
    fit(model, monitor)
    steps = [s for s, _ in events(tmp_path / "train")["kreg/sparsity"]]
    assert steps == [0, 3, 6, 6, 9, 12]


def test_monitor_counts_batches_where_no_optimizer_is_known(tmp_path):
    class Untrained(VAE):
        def train_step(self, x):
            return {"loss": ops.stop_gradient(self.loss_of(x))}

    model = loop_of(Untrained)
    kreg.bind(model)
    monitor = kreg.RegularizationMonitor(tmp_path, check=False)
    with pytest.warns(UserWarning, match="are batches"):
        fit(model, monitor)
    fit(model, monitor)
    steps = [s for s, _ in events(tmp_path / "train")["kreg/sparsity"]]
    assert steps == [0, 3, 6, 6, 9, 12]


@pytest.mark.thorough
def test_model_that_is_compiled_anew_goes_on_by_its_optimizer(tmp_path):
    model = bound(loop_of(VAE))
    monitor = kreg.RegularizationMonitor(tmp_path, check=False)
    fit(model, monitor)
    model.compile(optimizer=model.optimizer)
    fit(model, monitor)
    steps = [s for s, _ in events(tmp_path / "train")["kreg/sparsity"]]
    assert steps == [0, 3, 6, 6, 9, 12]


@pytest.mark.thorough
@pytest.mark.parametrize("cls", few_of(LOOPS, VAE))
def test_support_is_kept(cls):
    model = bound(loop_of(cls, optimizer=proximal))
    fit(model)
    zeros = {
        id(v): ops.convert_to_numpy(v) == 0.0
        for v in model.trainable_weights
        if v.regularizer is not None
    }
    assert sum(z.sum() for z in zeros.values()) > 0
    kreg.freeze_support(model)
    fit(model)
    for variable in model.trainable_weights:
        if id(variable) in zeros:
            w = ops.convert_to_numpy(variable)
            np.testing.assert_array_equal(w == 0.0, zeros[id(variable)])


@pytest.mark.parametrize("cls", few_of(LOOPS, VAE))
def test_attach_reaches_the_parts(cls):
    model = loop_of(cls, layers.Dense)
    kreg.attach(model, kreg.L1(0.1))
    kernels = [v for v in model.trainable_weights if v.name == "kernel"]
    assert kernels
    expected = {
        v.path: 0.1 * np.abs(ops.convert_to_numpy(v)).sum() for v in kernels
    }
    assert kreg.penalties(model) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TargetSparsity.*train longer")
@pytest.mark.parametrize("cls", few_of(LOOPS, VAE))
def test_target_sparsity_steers_the_parts(cls):
    def dense(units, **arguments):
        return layers.Dense(
            units, kernel_regularizer=kreg.L1(1e-4), **arguments
        )

    model = bound(loop_of(cls, dense))
    history = fit(model, kreg.TargetSparsity(0.6), epochs=40)
    kernels = [
        ops.convert_to_numpy(v).ravel()
        for v in model.trainable_weights
        if v.regularizer is not None
    ]
    sparsity = np.mean(np.concatenate(kernels) == 0.0)
    assert history["steered_sparsity"][-1] == pytest.approx(sparsity)
    assert 0.4 < sparsity < 0.7
