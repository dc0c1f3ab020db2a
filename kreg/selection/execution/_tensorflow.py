"""TensorFlow's share of a machine, in one of several processes."""

import tensorflow as tf


def take_share(threads: int) -> None:
    """Use some of the cores, and of a GPU only the memory that is needed.

    Args:
        threads: int >= 1, how many cores.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
