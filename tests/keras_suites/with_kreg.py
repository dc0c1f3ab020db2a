"""A plugin of pytest that puts kreg into the tests of Keras itself.

In tests of optimizers every optimizer that kreg knows is wrapped in a
`ProximalOptimizer`. In all others, every model that is compiled is bound and
its optimizer wrapped, and every `fit` has a `RegularizationMonitor`. The names
that a bound model logs in addition are taken out of the history.
"""

import functools
import tempfile

import keras
import pytest
from keras.src.trainers.trainer import Trainer

import kreg

# What `fit` logs of a bound model beside its own losses and metrics.
LOG_NAMES = {"data_loss", "penalty", "activity_penalty"}

# The optimizers that can be wrapped.
SERVED = {}
for name, known in vars(keras.optimizers).items():
    if isinstance(known, type) and issubclass(
        known, keras.optimizers.Optimizer
    ):
        try:
            kreg.ProximalOptimizer(known())
        except (TypeError, ValueError):
            continue
        SERVED[known] = name

# The classes of their objects, which on torch are subclasses of these.
SERVED_OBJECTS = {type(known()) for known in SERVED}


def wrapped_class(optimizer_class):
    """A class whose instances are wrapped optimizers of `optimizer_class`."""

    class Meta(type):
        def __call__(cls, *args, **kwargs):
            return kreg.ProximalOptimizer(optimizer_class(*args, **kwargs))

        def __instancecheck__(cls, instance):
            inner = getattr(instance, "inner_optimizer", instance)
            return isinstance(inner, optimizer_class)

        def __getattr__(cls, name):
            return getattr(optimizer_class, name)

    return Meta(optimizer_class.__name__, (), {})


def pytest_collection_modifyitems(items):
    """Wrap the optimizers that test modules of optimizers have imported."""
    wrapped = {known: wrapped_class(known) for known in SERVED}
    modules = {item.module for item in items}
    for module in modules:
        if ".optimizers." in module.__name__:
            for name, value in list(vars(module).items()):
                if isinstance(value, type) and value in wrapped:
                    setattr(module, name, wrapped[value])


@pytest.fixture(autouse=True)
def _kreg_in_every_model(request, monkeypatch):
    if ".optimizers." in request.module.__name__:
        return
    plain_compile = Trainer.compile

    @functools.wraps(plain_compile)
    def compile_bound(self, optimizer="rmsprop", *args, **kwargs):
        optimizer = keras.optimizers.get(optimizer)
        if type(optimizer) in SERVED_OBJECTS:
            optimizer = kreg.ProximalOptimizer(optimizer)
        plain_compile(self, optimizer, *args, **kwargs)
        if isinstance(self, keras.Model):
            kreg.bind(self)

    monkeypatch.setattr(Trainer, "compile", compile_bound)
    plain_fit = keras.Model.fit

    @functools.wraps(plain_fit)
    def fit_monitored(self, *args, callbacks=None, **kwargs):
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            logs = tempfile.mkdtemp()
            callbacks = [
                *keras.tree.flatten(callbacks or []),
                kreg.RegularizationMonitor(logs),
            ]
        history = plain_fit(self, *args, callbacks=callbacks, **kwargs)
        for name in [*history.history]:
            if name.removeprefix("val_") in LOG_NAMES:
                del history.history[name]
        return history

    monkeypatch.setattr(keras.Model, "fit", fit_monitored)
