"""The strengths of Keras's own regularizers."""

from typing import Any

from keras import regularizers

from kreg.statistics._linter._tolerant import attribute, number

_NORMS = (regularizers.L1, regularizers.L2, regularizers.L1L2)


def keras_strengths(regularizer: Any) -> dict[str, float]:
    """`l1` and `l2` of one of Keras's own norms; nothing for anything else."""
    for norm in _NORMS:
        if isinstance(regularizer, norm) and (
            type(regularizer).__call__ is norm.__call__
        ):
            return {
                name: number(attribute(regularizer, name))
                for name in ("l1", "l2")
                if name in vars(regularizer)
            }
    return {}
