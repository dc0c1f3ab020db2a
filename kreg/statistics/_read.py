"""Reading the weights of a model."""

from weakref import WeakKeyDictionary

import keras

from kreg._arguments import nonnegative_number, real_number
from kreg.statistics._built_model import refuse_unbuilt
from kreg.statistics._reader import Reader
from kreg.statistics._reading import Reading

_readers: WeakKeyDictionary[keras.Model, dict[float, Reader]] = (
    WeakKeyDictionary()
)


def read(
    model: keras.Model,
    *,
    data_loss: float | None = None,
    threshold: float = 1e-3,
) -> Reading:
    """Read norms, zeros, penalties and strengths of every weight of a model.

    Whatever regularizers it has: kreg's, Keras's, plain callables or none.
    Frozen weights are read too, with a penalty of 0; what is never trained,
    such as the moving mean of a BatchNormalization, is not. Sums are taken in
    at least single precision. From the second reading of a model on, one
    compiled pass computes all figures.

    Where the optimizer keeps an average of gradients (SGD with momentum, Adam,
    AdamW, Nadam, Adamax), the reading tells the norm of the gradient and the
    optimality residual, which is 0 at a minimum of the data loss plus the
    penalties: small beside the gradient's norm in early training, it says
    "converged", otherwise "stopped early". Decoupled weight decay is not in it.

    Args:
        model: a built `keras.Model`, compiled or not, bound or not. Strengths
            are those of `model.optimizer`'s iteration.
        data_loss: float, the loss without penalties, from which shares of the
            loss are computed. Defaults to `None`: shares are None too.
        threshold: float >= 0, the largest size of an entry that counts as near
            zero. Defaults to `1e-3`.

    Returns:
        A frozen `Reading`, with one `LayerReading` for each layer and one
        `WeightReading` for each weight.

    Raises:
        TypeError: if `model` is not a `keras.Model`, or a number none.
        ValueError: if it is not built, or `threshold` is negative.

    Example:

    >>> import keras, kreg, numpy
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2,
    ...     kernel_regularizer=kreg.L1(0.5), name="hidden")], name="net")
    >>> w = numpy.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
    >>> model.set_weights([w, numpy.ones(2)])
    >>> kernel, bias = kreg.statistics.read(model).weights
    >>> kernel.path, kernel.strengths, kernel.penalty, kernel.zeros
    ('net/hidden/kernel', {'l1': 0.5}, 1.5, 4)
    >>> kernel.dead_units, kernel.units, kernel.dead_inputs, kernel.inputs
    (1, 2, 1, 3)

    References:
        Beck, "First-Order Methods in Optimization", SIAM 2017, section 10.3,
        for the optimality residual, there the gradient mapping.
    """
    refuse_unbuilt(model)
    threshold = nonnegative_number("threshold", threshold)
    if data_loss is not None:
        data_loss = real_number("data_loss", data_loss)
    readers = _readers.setdefault(model, {})
    reader = readers.setdefault(threshold, Reader(threshold))
    return reader(model, compiled=reader.has_read, data_loss=data_loss)
