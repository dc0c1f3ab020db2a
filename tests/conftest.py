"""What every test starts from: fixed seeds and the default policy."""

import gc
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes run at once, so each takes one core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import keras
import pytest

BACKEND = keras.backend.backend()

if BACKEND == "tensorflow":
    import tensorflow as tf

    # Two logical devices, for the tests of distribution strategies.
    _CPU = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        _CPU, [tf.config.LogicalDeviceConfiguration()] * 2
    )


def pytest_xdist_auto_num_workers(config):
    """The number of workers where setup.cfg leaves it to this function.

    0, the process of pytest itself, where files or tests are named or picked:
    a worker starts TensorFlow anew, which takes longer than most tests. None
    for whole folders: pytest-xdist then starts one for each core.
    """
    named = any(os.path.isfile(name.split("::")[0]) for name in config.args)
    picked = config.getoption("keyword") or config.getoption("lf", False)
    return 0 if named or picked else None


@pytest.fixture(autouse=True)
def _same_start():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


@pytest.fixture
def mirrored_strategy():
    """A strategy over two devices, which are copies of one another.

    Collective operations, the default, may be used by one strategy in a
    process: TensorFlow takes those of a second one for the first one's.
    """
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


@pytest.fixture
def interruptible():
    """Processes that a test starts heed Ctrl-C.

    What a shell runs in the background ignores it, and so do its children.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_collection_finish():
    """Collect garbage less often, and never what the imports have made.

    Keras and TensorFlow are 400,000 objects, which never go.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)


def pytest_collection_modifyitems(items):
    for item in items:
        if BACKEND == "torch" and "jit_compile" in item.nodeid:
            # torch.compile warns of itself, and breaks where that is an error.
            item.add_marker(pytest.mark.filterwarnings("ignore"))
        if item.get_closest_marker("tensorflow") and BACKEND != "tensorflow":
            item.add_marker(
                pytest.mark.skip(reason=f"not for the {BACKEND} backend")
            )
