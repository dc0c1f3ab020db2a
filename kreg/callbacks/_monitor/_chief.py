"""Who writes logs where several processes train one model."""

import keras


def is_chief(model: keras.Model) -> bool:
    """Whether this process is the one that writes logs.

    Args:
        model: the model that is being trained.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return bool(model.distribute_strategy.extended.should_checkpoint)
    if backend == "jax":
        import jax

        return jax.process_index() == 0
    if backend == "torch":
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank() == 0
    return True
