"""Every report has the layers of a model in the order in which it runs them."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import kreg
from kreg.callbacks._monitor.log import summary_text

NAMES = [f"dense_{i}" for i in (3, 1, 5, 0, 4, 2)]


def dense(i, units=3):
    return layers.Dense(units, kernel_regularizer=kreg.L1(0.1), name=NAMES[i])


def sequential(*parts, name):
    return keras.Sequential([keras.Input((3,)), *parts], name=name)


def nested_first():
    """A `Sequential` whose first layer holds two more levels."""
    deep = sequential(dense(0), dense(1), name="deep")
    block = sequential(deep, dense(2), dense(3), name="block")
    return sequential(block, dense(4), dense(5), name="net")


def nested_last():
    deep = sequential(dense(3), dense(4), name="deep")
    block = sequential(dense(2), deep, dense(5), name="block")
    return sequential(dense(0), dense(1), block, name="net")


def functional_inside():
    """A residual block with two branches in front, and a block behind."""
    x = keras.Input((3,))
    joined = layers.Add()([dense(1)(dense(0)(x)), x])
    front = keras.Model(x, dense(2)(joined), name="front")
    back = sequential(dense(3), dense(4), name="back")
    x = keras.Input((3,))
    return keras.Model(x, dense(5)(back(front(x))), name="net")


MODELS = pytest.mark.parametrize(
    "make", [nested_first, nested_last, functional_inside]
)


@pytest.fixture
def order(monkeypatch):
    """The names of the layers that a model calls, in order."""

    def run(model):
        called, call = [], layers.Dense.call

        def recorded(self, *args, **kwargs):
            called.append(self.name)
            return call(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(layers.Dense, "call", recorded)
            model(np.ones((1, 3), "float32"))
        return called

    return run


def layers_in(texts):
    """The layers that are named in texts, each once, in order."""
    named = [
        name for text in texts for name in NAMES if f"{name}/" in f"{text}/"
    ]
    return list(dict.fromkeys(named))


@MODELS
def test_order_is_that_of_a_forward_pass(make, order):
    assert order(make()) == NAMES


@MODELS
def test_summary_and_reading(make, order):
    model = make()
    text = io.StringIO()
    kreg.summary(model, console=Console(file=text, width=120))
    assert layers_in(text.getvalue().splitlines()) == order(model)
    reading = kreg.statistics.read(model)
    assert [w.path for w in reading.weights] == [w.path for w in model.weights]
    assert layers_in([layer.path for layer in reading.layers]) == order(model)
    assert layers_in(kreg.penalties(model)) == order(model)


@MODELS
def test_findings(make, order):
    model = make()
    model.compile("adam", "mse")
    for layer in model._flatten_layers():
        if isinstance(layer, layers.Dense):
            layer.bias_regularizer = kreg.L1(0.1)
    rules = [f.rule for f in kreg.check(model)]
    assert "attribute-without-effect" in rules
    (paths,) = [
        finding.path
        for finding in kreg.check(model)
        if finding.rule == "no-exact-zeros"
    ]
    assert layers_in(paths.split(", ")) == order(model)[:3]


@MODELS
def test_changes(make, order):
    model = make()
    changes = kreg.attach(model, kreg.L2(0.1))
    assert layers_in([change.path for change in changes]) == order(model)
    changes = kreg.strip(model)
    assert layers_in([change.path for change in changes]) == order(model)


@MODELS
def test_changes_of_activity_regularizers(make, order):
    model = make()
    for layer in model._flatten_layers():
        if isinstance(layer, layers.Dense):
            layer.activity_regularizer = kreg.L2(0.1)
            layer.kernel.regularizer = layer.kernel_regularizer = None
    changes = kreg.strip(model)
    assert layers_in([change.path for change in changes]) == order(model)


@MODELS
def test_compaction(make, order):
    _, compaction = kreg.compact(make(), return_compaction=True)
    paths = [layer.path for layer in compaction.layers]
    assert layers_in(paths) == order(make())


@MODELS
def test_deploy_report(make, order, monkeypatch):
    monkeypatch.setattr(
        "kreg.deployment._costs.multiply_adds_of", lambda *args: None
    )
    monkeypatch.setattr("kreg.deployment._costs.can_write", lambda kind: False)
    model = make()
    report = kreg.deployment.deploy_report(model, runs=1)
    note = report.table().notes[-1].rstrip(".")
    assert layers_in(note.split(", ")) == order(model)


@MODELS
def test_text_of_the_monitor(make, order):
    model = make()
    text = summary_text("net", kreg.statistics.read(model), [])
    assert layers_in(text.splitlines()) == order(model)


def test_layers_of_a_subclassed_model_are_in_the_order_of_its_attributes():
    class Model(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.blocks = [
                sequential(dense(0), dense(1), name="first"),
                sequential(dense(2), dense(3), name="second"),
            ]
            self.end = dense(4)

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return self.end(x)

    model = Model()
    model(np.ones((1, 3), "float32"))
    reading = kreg.statistics.read(model)
    assert [w.path for w in reading.weights] == [w.path for w in model.weights]
    assert layers_in([w.path for w in reading.weights]) == NAMES[:5]
