"""Every schedule can be saved, compiled and shown."""

import json

import keras
import numpy as np
import pytest
from instances import SCHEDULES
from keras import ops

STEPS = list(range(9))


def values(schedule):
    return [float(ops.convert_to_numpy(schedule(step))) for step in STEPS]


@pytest.fixture(params=SCHEDULES, name="schedule")
def _schedule(request):
    return SCHEDULES[request.param]()


def test_config_round_trip(schedule):
    config = json.loads(json.dumps(schedule.get_config()))
    revived = type(schedule).from_config(config)
    assert values(revived) == values(schedule)


def test_serialization_round_trip(schedule):
    serialized = json.loads(
        json.dumps(keras.saving.serialize_keras_object(schedule))
    )
    revived = keras.saving.deserialize_keras_object(serialized)
    assert type(revived) is type(schedule)
    assert values(revived) == values(schedule)


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_equals_eager(schedule, jit_compile):
    import tensorflow as tf

    compiled = tf.function(schedule, jit_compile=jit_compile)
    steps = [tf.constant(step, "int64") for step in STEPS]
    np.testing.assert_allclose(
        [float(compiled(step)) for step in steps], values(schedule), rtol=1e-6
    )


def test_is_a_learning_rate_schedule_of_keras_optimizers(schedule):
    optimizer = keras.optimizers.SGD(schedule)
    rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    assert rate == pytest.approx(values(schedule)[0])


def test_takes_the_iterations_variable_of_an_optimizer(schedule):
    iterations = keras.optimizers.SGD(0.1).iterations
    iterations.assign(5)
    value = float(ops.convert_to_numpy(schedule(iterations)))
    assert value == pytest.approx(values(schedule)[5])


def test_unknown_key_is_named(schedule):
    config = {**schedule.get_config(), "colour": 1}
    with pytest.raises(ValueError, match=r"unknown keys \['colour'\]"):
        type(schedule).from_config(config)


def test_repr_names_the_arguments(schedule):
    assert next(iter(schedule.get_config())) in repr(schedule)
