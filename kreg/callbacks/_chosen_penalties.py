"""The penalties that a callback steers."""

import keras

from kreg.binding._chosen_weights import Weights, chosen_variables
from kreg.binding._penalties_of import weight_penalties
from kreg.regularizers import Penalty


def chosen_penalties(
    model: keras.Model, weights: Weights | None
) -> dict[Penalty, list[keras.Variable]]:
    """The penalties of `weights`, each with the variables it acts on.

    Args:
        model: the model.
        weights: variables and layers of it; None for all with a kreg penalty.

    Raises:
        ValueError: if there is none, or one that also acts on weights that
            are not in `weights`.
    """
    owners = weight_penalties(model)
    if weights is not None:
        chosen = {id(v) for v in chosen_variables(model, weights)}
        owners = {
            penalty: variables
            for penalty, variables in owners.items()
            if any(id(variable) in chosen for variable in variables)
        }
        for penalty, variables in owners.items():
            others = [v.path for v in variables if id(v) not in chosen]
            if others:
                raise ValueError(
                    "`weights` must hold all weights that share a penalty, or "
                    "each must be given one of its own. Received: weights "
                    f"with {penalty!r}, which also regularizes {others}"
                )
    if not owners:
        raise ValueError(
            "`weights` must hold a weight with a kreg penalty, such as "
            "`kernel_regularizer=kreg.L1(1e-4)`. "
            f"Received: weights={weights!r} of the model `{model.name}`"
        )
    return owners
