"""The penalty that leaves out input features as a whole."""

from kreg.regularizers import GroupLasso


def input_lasso(strength: float) -> GroupLasso:
    """The penalty that leaves out input features as a whole.

    `GroupLasso(strength, "inputs")`: what leaves an input is zero together. In
    a linear model with one output it is `L1`.

    Args:
        strength: float >= 0.

    Example:

    >>> import kreg
    >>> kreg.selection.input_lasso(0.1)
    GroupLasso(strength=0.1, groups='inputs')
    """
    return GroupLasso(strength, "inputs")
