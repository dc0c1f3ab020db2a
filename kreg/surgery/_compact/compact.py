"""`kreg.compact`: a smaller model with the same outputs."""

from contextlib import ExitStack
from typing import Any, Literal, overload

import keras

from kreg._arguments import boolean, built_model, positive_integer, shown
from kreg.surgery._compact.compacting import Compacting, Options
from kreg.surgery._compact.compaction import Compaction
from kreg.surgery.layouts import layouts_that_fit
from kreg.surgery.sample import checked_sample
from kreg.surgery.stripped_copy import classes_of
from kreg.surgery.stripping import set_aside, uncompiled


@overload
def compact(
    model: keras.Model,
    *,
    sample: Any = ...,
    round_to: int = ...,
    drop_inputs: bool = ...,
    norms_as_operations: bool = ...,
    drop_tokens: Any = ...,
    keep_class: bool | None = ...,
    return_compaction: Literal[False] = ...,
) -> keras.Model: ...
@overload
def compact(
    model: keras.Model,
    *,
    sample: Any = ...,
    round_to: int = ...,
    drop_inputs: bool = ...,
    norms_as_operations: bool = ...,
    drop_tokens: Any = ...,
    keep_class: bool | None = ...,
    return_compaction: Literal[True],
) -> tuple[keras.Model, Compaction]: ...
def compact(
    model: keras.Model,
    *,
    sample: Any = None,
    round_to: int = 1,
    drop_inputs: bool = False,
    norms_as_operations: bool = False,
    drop_tokens: Any = None,
    keep_class: bool | None = None,
    return_compaction: bool = False,
) -> keras.Model | tuple[keras.Model, Compaction]:
    """Return a smaller model with the same outputs.

    Choose it after training with a penalty on groups (`kreg.GroupLasso`), or
    with any other penalty that leaves units without incoming weights. Zeros
    alone make no model faster, but removed units do. The new model is an
    ordinary Keras model, not compiled, without any object of kreg. The given
    model does not change.

    Units are also removed inside custom layers and models. A layer whose code
    cannot be followed stays whole, and the record says why. The smaller model
    is made in the first of these ways that works:

    1. From the config of the whole model with other integers, such as
       `intermediate_dim`, or with smaller models where it holds models. The
       model keeps its class and methods.
    2. From the config of each layer. A subclass of `keras.Model` with a graph
       of layers becomes a plain functional model.
    3. From the layers, operations and weights that the code of a layer, or of a
       subclass of `keras.Model`, uses. They replace the layer as layers and
       operations of Keras, and a model becomes a plain functional one. Parts
       on which the outputs do not depend are left out.
    4. Or the layer stays whole. If no unit can be removed in this way, the
       config of the whole model is used after all: layers that share a size in
       it keep the largest size that one of them needs.

    A model whose class has its own way to train or to predict, such as a `fit`,
    `compile` or `train_step`, keeps its class even if fewer units go, as long
    as its config can remove any. The record says how much more could go.
    Choose otherwise by `keep_class`.

    Layers in which nothing changes are copied as they are. Each result is run
    on a sample, saved, loaded without kreg's classes and run again before it
    is returned. If its outputs differ from those of the model, or its file
    cannot be loaded, the next way is tried.

    These units (output channels) are removed:

    - Constant units: those with zero incoming weights, or with a zero `gamma`
      in a BatchNormalization. Their value, `activation(bias)`, is followed
      through normalization, activations, pooling, flattening and dropout. It
      is then added to the bias of the layer that reads them, which gets a bias
      if it has none.
    - Units that nothing reads, because all their outgoing weights are zero.
    - Units that only removed units read, repeatedly, also around residuals.
    - Heads of attention whose value or output weights are zero; widths of keys,
      queries and values that all of its heads can spare; heads of keys and
      values with all query heads that share them.
    - Groups of a convolution; in groups that stay, equal numbers of units.

    A convolution with `padding="same"` keeps one of the constant channels that
    it reads, to make up for all of them, because the zeros of the padding
    differ from the constants. A constant unit stays if nothing can make up for
    it: before a depthwise convolution with padding, a sum with a unit that
    varies, softmax, layer normalization (without `norms_as_operations`).
    Tensors that are added or multiplied lose a channel together or not at all.
    Recurrent units are removed only if their state stays at zero. Every layer
    keeps one unit.

    Under a `keras.distribution.ModelParallel` the smaller weights are split
    over the devices as before. An axis is not split if its new size is no
    multiple of the number of devices; `round_to` can make it one.

    The outputs are the same in inference. In further training, moving means
    and dropout differ, because units are missing.

    Args:
        model: a built `keras.Model`. A subclass whose inputs are not known
            from its layers needs a `sample`.
        sample: a few inputs of the model, in the structure that it takes. The
            two models are compared on them. Needed if the model does not take
            random inputs. Defaults to `None`: random floats, integers of 0 and
            1, and masks of 1.
        round_to: int >= 1, the number of units in each layer becomes a multiple
            of it, or stays as it is. Some hardware is faster then. Defaults to
            `1`.
        drop_inputs: bool, whether to remove features of the model's inputs
            (the last axis) that nothing reads, too. The small model takes
            `x[..., kept_inputs]`. Defaults to `False`.
        norms_as_operations: bool, whether normalizations with constant channels
            become operations that know the sums of the constants, so that
            these channels can go: every `LayerNormalization`, and
            `RMSNormalization` and `UnitNormalization` where the constants are
            not 0. A small functional model of Keras's operations then replaces
            the layer, and runs slower than the layer. A normalization that
            passes on a mask stays. Defaults to `False`.
        drop_tokens: which rows of embeddings go, and with them the ids that
            look them up: a sequence of ids that never occur in the inputs, or
            `"zeros"` for ids whose rows are 0, which get one id together. A
            dict of these by the names of the inputs, if several inputs are
            looked up. The small model takes `new_ids[name][x]`. The record
            holds the map `new_ids` for each input, which is -1 for ids that
            must not occur. The id 0 stays, because it masks and pads. Defaults
            to `None`: all rows stay.
        keep_class: bool, whether the class of the model counts more than the
            units that its config cannot remove. With `True` the model keeps
            its class, and layers that share a size in its config keep the
            largest size that one of them needs. With `False` each layer loses
            all units that it can, and the model may become a plain functional
            one. Defaults to `None`: `True` for a class that has its own way to
            train or to predict, such as a `fit`, a `compile` or a
            `train_step`, if its config can remove any units; `False` for
            others.
        return_compaction: bool, whether to return the record, too. Defaults to
            `False`.

    Returns:
        The small model. With `return_compaction=True` a tuple of it and a
        `kreg.surgery.Compaction`, which tells how many units each layer lost,
        why constant units had to stay, and which input features are left.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if the model is not built, is a subclass that needs a
            `sample`, or cannot be copied even by Keras. If ids in `drop_tokens`
            cannot go: the model uses the ids or their rows otherwise, or has a
            `preprocessor` that makes them.

    Example:

    >>> import keras, kreg, numpy
    >>> hidden = keras.layers.Dense(3, activation="relu")
    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), hidden, keras.layers.Dense(1)])
    >>> kernel = numpy.array([[1.0, 0.0, 2.0], [3.0, 0.0, 4.0]])
    >>> hidden.set_weights([kernel, numpy.array([0.0, 5.0, 0.0])])
    >>> small = kreg.compact(model)  # the second unit is always 5
    >>> [tuple(w.shape) for w in small.weights]
    [(2, 2), (2,), (2, 1), (1,)]
    >>> x = numpy.random.default_rng(0).normal(size=(8, 2))
    >>> outputs = model.predict(x, verbose=0), small.predict(x, verbose=0)
    >>> numpy.testing.assert_allclose(*outputs, rtol=1e-5)
    """
    built_model(model)
    round_to = positive_integer("round_to", round_to)
    drop_inputs = boolean("drop_inputs", drop_inputs)
    norms_as_operations = boolean("norms_as_operations", norms_as_operations)
    boolean("return_compaction", return_compaction)
    if keep_class is not None:
        boolean("keep_class", keep_class)
    if drop_tokens is not None and getattr(model, "preprocessor", None):
        raise ValueError(
            "`drop_tokens` must be None for a model with a preprocessor, which "
            "makes the ids of its own vocabulary: set `model.preprocessor` to "
            "None, and map the ids yourself. "
            f"Received: drop_tokens={shown(drop_tokens)}"
        )
    if sample is not None:
        sample = checked_sample(model, sample)
    with ExitStack() as undo:
        undo.enter_context(set_aside(model))
        undo.enter_context(uncompiled(model))
        undo.enter_context(layouts_that_fit())
        undo.enter_context(keras.saving.custom_object_scope(classes_of(model)))
        options = Options(
            round_to, drop_inputs, norms_as_operations, drop_tokens, keep_class
        )
        compacting = Compacting(model, sample, options)
        small = compacting.smaller_model()
    return (small, compacting.record(small)) if return_compaction else small
