"""Limits the cores and the GPU memory that TensorFlow uses."""

import tensorflow as tf


def limit_resources(threads: int) -> None:
    """Limit the number of threads, and allocate GPU memory only as needed.

    Args:
        threads: int >= 1, the number of threads.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
