"""Classes that the file of a smaller model needs, which may not be registered.

Keras loads a file only if it knows each class in it. A layer that another one
makes in its code is not in the file of the model, but may be in that of the
smaller one.
"""

import keras
import pytest
from keras import layers
from surgery.handmade import filled, kill, same, x_of

import kreg


def registered(cls):
    return keras.saving.register_keras_serializable("classes")(cls)


class Inner(layers.Layer):
    """A layer that is not registered; its config gives its width."""

    def __init__(self, units=6, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.up, self.down = layers.Dense(self.units, "relu"), layers.Dense(8)
        self.up.build(shape)
        self.down.build((*shape[:-1], self.units))

    def call(self, x):
        return self.down(self.up(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class WithUnreadWeight(Inner):
    """A layer in whose place no others can be: nothing reads its weight."""

    def build(self, shape):
        super().build(shape)
        self.average = self.add_weight((3,), name="average")


class Middle(layers.Layer):
    """Not registered either, around a layer that is not."""

    def build(self, shape):
        self.inner = Inner()
        self.inner.build(shape)

    def call(self, x):
        return x + self.inner(x)


class Around(layers.Layer):
    """Makes a layer of another class in its code, and one of Keras."""

    kind = Inner

    def build(self, shape):
        self.inner = self.kind()
        self.hidden, self.out = layers.Dense(5, "relu"), layers.Dense(8)
        self.inner.build(shape)
        self.hidden.build(shape)
        self.out.build((*shape[:-1], 5))
        self.shift = self.add_weight((8,), name="shift")

    def call(self, x):
        return x + self.shift + self.out(self.hidden(self.inner(x)))


@registered
class AroundInner(Around):
    pass


@registered
class AroundMiddle(Around):
    kind = Middle


@registered
class AroundUnread(Around):
    kind = WithUnreadWeight


@registered
class Network(keras.Model):
    """Makes a layer that is not registered, and has a width of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inner, self.hidden = Inner(), layers.Dense(5, "relu")
        self.out = layers.Dense(2)

    def call(self, x):
        return self.out(self.hidden(self.inner(x)))


@registered
class Wide(Inner):
    """A registered layer with a config."""


def around(*blocks):
    x = y = keras.Input((8,))
    for block in blocks:
        y = block(y)
    return filled(keras.Model(x, layers.Dense(2)(y)))


def network():
    model = Network()
    model(x_of(1, 8))
    return filled(model)


def parts(model, cls):
    return [layer for layer in model._flatten_layers() if type(layer) is cls]


def loaded(model, folder, **options):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras", **options)


MODELS = {
    "layer": lambda: around(AroundInner()),
    "layer_in_layer": lambda: around(AroundMiddle()),
    "layer_that_stays": lambda: around(AroundUnread()),
    "network": network,
}


def with_dead_unit(name, place):
    """A model of the table with a dead unit in a layer of this name."""
    model = MODELS[name]()
    owners = [o for o in model._flatten_layers() if hasattr(o, place)]
    kill(getattr(owners[0], place), 2, bias=0.0)
    return model


@pytest.mark.parametrize("place", ["up", "hidden"])
@pytest.mark.parametrize("name", MODELS)
def test_it_loads_without_classes_that_the_model_does_not_name(
    name, place, tmp_path
):
    model = with_dead_unit(name, place)
    loaded(model, tmp_path)  # Keras knows all that it needs
    small = kreg.compact(model, sample=x_of(3, 8))
    assert same(loaded(small, tmp_path), model, x_of(3, 8))


@pytest.mark.parametrize(
    ("name", "place", "size"),
    [
        ("layer", "up", 8 + 1 + 8),
        ("layer_in_layer", "hidden", 8 + 1 + 8),
        ("network", "hidden", 8 + 1 + 2),
    ],
)
def test_units_go_from_layers_of_such_classes(name, place, size):
    model = with_dead_unit(name, place)
    small, record = kreg.compact(
        model, sample=x_of(3, 8), return_compaction=True
    )
    assert small.count_params() == model.count_params() - size
    assert not any("not run" in note for note in record.notes)


def test_a_class_that_the_model_names_stays(tmp_path):
    model = around(Inner())
    kill(model.layers[1].up, 2, bias=0.0)
    small = kreg.compact(model)
    assert parts(small, Inner)[0].units == 5
    options = {"custom_objects": {"Inner": Inner}}
    assert same(loaded(small, tmp_path, **options), model, x_of(3, 8))


def test_a_registered_class_beside_one_that_is_not_stays(tmp_path):
    model = around(AroundInner(), Wide())
    kill(model.layers[1].inner.up, 2, bias=0.0)
    kill(model.layers[2].up, 2, bias=0.0)
    small = kreg.compact(model)
    assert parts(small, Wide)[0].units == 5
    assert same(loaded(small, tmp_path), model, x_of(3, 8))
