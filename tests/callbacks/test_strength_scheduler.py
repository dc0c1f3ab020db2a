"""StrengthScheduler through a real `fit`."""

import functools
import math

import keras
import numpy as np
import pytest

import kreg

X, Y = np.zeros((4, 3)), np.zeros((4, 1))


def model_of(*penalties):
    model = keras.Sequential([keras.Input((3,))])
    for i, penalty in enumerate(penalties):
        model.add(
            keras.layers.Dense(3, kernel_regularizer=penalty, name=f"layer_{i}")
        )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def fit(model, *callbacks, epochs=3, **arguments):
    return model.fit(
        X,
        np.zeros((4, 3)),
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
        **arguments,
    ).history


def steer(function, weights=None, **arguments):
    return kreg.callbacks.StrengthScheduler(function, weights, **arguments)


def test_function_of_the_epoch():
    history = fit(model_of(kreg.L1(0.1)), steer(lambda epoch: 10.0 - epoch))
    assert history["strength_multiplier"] == [10.0, 9.0, 8.0]


def test_function_of_the_epoch_and_the_multiplier():
    model = model_of(kreg.L1(0.1, multiplier=4.0))
    history = fit(model, steer(lambda epoch, multiplier: multiplier / 2))
    assert history["strength_multiplier"] == [2.0, 1.0, 0.5]


def test_initial_epoch_is_passed_on():
    history = fit(
        model_of(kreg.L1(0.1)), steer(float), initial_epoch=1, epochs=3
    )
    assert history["strength_multiplier"] == [1.0, 2.0]


def test_an_optional_parameter_takes_the_multiplier_by_its_name():
    def halve(epoch, multiplier=1.0):
        return multiplier / 2

    history = fit(model_of(kreg.L1(0.1, multiplier=4.0)), steer(halve))
    assert history["strength_multiplier"] == [2.0, 1.0, 0.5]


# Functions of the epoch that have other optional parameters, or no signature.
OF_THE_EPOCH = {
    "ufunc": np.exp,
    "getitem of a list": [1.0, 0.5, 0.25].__getitem__,
    "get of a dict": {0: 1.0, 1: 0.5, 2: 0.25}.get,
    "partial of a builtin": functools.partial(pow, 0.5),
    "builtin": math.sqrt,
    "class": float,
    "any arguments": lambda *arguments: float(len(arguments)),
    "bound constant": lambda epoch, rate=0.5: rate**epoch,
    "interpolation": functools.partial(np.interp, xp=[0, 2], fp=[1.0, 2.0]),
    "polynomial": np.polynomial.Polynomial([1.0, 2.0]),
}


@pytest.mark.parametrize("name", OF_THE_EPOCH)
def test_other_callables_get_the_epoch_alone(name):
    function = OF_THE_EPOCH[name]
    history = fit(model_of(kreg.L1(0.1, multiplier=3.0)), steer(function))
    expected = [float(function(epoch)) for epoch in range(3)]
    assert history["strength_multiplier"] == expected


@pytest.mark.parametrize("function", [np.multiply, math.pow, pow])
def test_a_builtin_that_requires_two_arguments_gets_both(function):
    model = model_of(kreg.L1(0.1, multiplier=3.0))
    history = fit(model, steer(function), initial_epoch=2)
    assert history["strength_multiplier"] == [float(function(2, 3.0))]


def keyword_only(epoch, *, multiplier):
    return 2.0 * multiplier + epoch


def keyword_only_after_rates(epoch, *rates, multiplier=1.0):
    return 2.0 * multiplier + epoch + len(rates)


@pytest.mark.parametrize("function", [keyword_only, keyword_only_after_rates])
def test_a_multiplier_for_keywords_only_is_passed(function):
    history = fit(model_of(kreg.L1(0.1, multiplier=3.0)), steer(function))
    assert history["strength_multiplier"] == [6.0, 13.0, 28.0]


def decayed(epoch, multiplier):
    return multiplier * 0.5**epoch


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(decayed, multiplier=4.0),
        functools.partial(
            functools.partial(decayed, multiplier=9.0), multiplier=4.0
        ),
        functools.partial(
            lambda epoch, *, multiplier: decayed(epoch, multiplier),
            multiplier=4.0,
        ),
    ],
    ids=["bound", "bound again", "keyword only"],
)
def test_a_multiplier_that_a_partial_binds_stays(function):
    history = fit(model_of(kreg.L1(0.1, multiplier=3.0)), steer(function))
    assert history["strength_multiplier"] == [4.0, 2.0, 1.0]


def test_penalties_follow():
    model = model_of(kreg.L1(0.1))
    history = fit(model, steer(lambda epoch: epoch + 1.0))
    norm = np.abs(model.get_weights()[0]).sum()
    np.testing.assert_allclose(
        history["penalty"], 0.1 * norm * np.array([1, 2, 3]), rtol=1e-5
    )


def test_kernel_and_bias_of_one_layer_may_share_a_penalty():
    penalty = kreg.L1(0.1)
    layer = keras.layers.Dense(
        3, kernel_regularizer=penalty, bias_regularizer=penalty
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("sgd", "mse")
    fit(model, steer(lambda epoch: 2.0, [layer]), epochs=1)
    assert penalty.multiplier == 2.0


@pytest.mark.parametrize("choice", ["layer", "variable"])
def test_selected_weights_only(choice):
    penalties = [kreg.L1(0.1), kreg.L2(0.1)]
    model = model_of(*penalties)
    layer = model.layers[1]
    chosen = {"layer": layer, "variable": layer.kernel}[choice]
    fit(model, steer(lambda epoch: 2.0, [chosen]))
    assert [penalty.multiplier for penalty in penalties] == [1.0, 2.0]


def test_weights_may_be_a_generator_and_serve_two_fits():
    model = model_of(kreg.L1(0.1))
    callback = steer(lambda epoch: 2.0, (v for v in model.weights))
    fit(model, callback)
    assert fit(model, callback)["strength_multiplier"] == [2.0] * 3


def test_shared_penalty_cannot_be_steered_in_part():
    penalty = kreg.L1(0.1)
    model = model_of(penalty, penalty)
    with pytest.raises(ValueError, match=r"`weights`.*layer_1/kernel"):
        fit(model, steer(lambda epoch: 2.0, [model.layers[0]]))
    assert penalty.multiplier == 1.0


def test_model_without_kreg_penalties_is_refused():
    model = model_of(keras.regularizers.L1(0.1))
    with pytest.raises(ValueError, match=r"kernel_regularizer=kreg\.L1"):
        fit(model, steer(lambda epoch: 2.0))


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_bad_number_is_refused(value):
    with pytest.raises(ValueError, match=r"`function\(epoch, multiplier\)`"):
        fit(model_of(kreg.L1(0.1)), steer(lambda epoch: value))


@pytest.mark.parametrize("value", [None, "1", True, [1.0]])
def test_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"`function\(epoch, multiplier\)`"):
        fit(model_of(kreg.L1(0.1)), steer(lambda epoch: value))


def test_function_must_be_callable():
    with pytest.raises(TypeError, match="`function` must be callable"):
        steer(2.0)


def test_verbose_prints_the_multiplier(capsys):
    fit(model_of(kreg.L1(0.1)), steer(lambda epoch: 2.0, verbose=1), epochs=1)
    assert "Epoch 1: strength multiplier [2.0]" in capsys.readouterr().out


def test_saved_model_continues_with_its_multiplier(tmp_path):
    model = model_of(kreg.L1(0.1))
    fit(model, steer(lambda epoch: 0.5))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    kreg.bind(loaded)
    norm = np.abs(model.get_weights()[0]).sum()
    penalty = fit(loaded, epochs=1)["penalty"]
    np.testing.assert_allclose(penalty, [0.05 * norm], rtol=1e-5)


def test_both_layers_of_bidirectional_are_steered():
    lstm = keras.layers.LSTM(2, kernel_regularizer=kreg.L1(0.1))
    model = keras.Sequential(
        [keras.Input((5, 3)), keras.layers.Bidirectional(lstm)]
    )
    model.compile("sgd", "mse")
    model.fit(
        np.zeros((2, 5, 3)),
        np.zeros((2, 4)),
        verbose=0,
        callbacks=[steer(lambda epoch: 3.0)],
    )
    layer = model.layers[0]
    for half in (layer.forward_layer, layer.backward_layer):
        assert half.kernel_regularizer.multiplier == 3.0
