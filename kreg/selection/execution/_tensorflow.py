"""Limits on the cores and the GPU memory that TensorFlow takes."""

import tensorflow as tf


def limit_resources(threads: int) -> None:
    """Use some of the cores, and only the GPU memory that is needed.

    Args:
        threads: int >= 1, how many cores.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
