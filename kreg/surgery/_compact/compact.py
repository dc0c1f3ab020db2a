"""`kreg.compact`: a smaller model with the same outputs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Literal, overload

import keras
import numpy as np

from kreg._arguments import boolean, built_model, positive_integer, shown
from kreg._keras_private import (
    TracedCall,
    declared_inputs,
    flatten_layers,
    is_alike,
    is_plain,
)
from kreg.layers.channels.network import Channels
from kreg.surgery._compact.compaction import Compaction
from kreg.surgery._compact.copies import freeze_alike, tells_all
from kreg.surgery._compact.kept_channels import kept_channels
from kreg.surgery._compact.new_values import new_values
from kreg.surgery._compact.rebuild import (
    Rebuild,
    StuckError,
    Way,
    does_more_than_its_layers,
)
from kreg.surgery._compact.report import Report
from kreg.surgery._compact.tokens import input_names
from kreg.surgery._compact.verification import Verification
from kreg.surgery._compact.walk import walk
from kreg.surgery.layouts import layouts_that_fit
from kreg.surgery.sample import checked_sample
from kreg.surgery.stripped_copy import classes_of, copies_of
from kreg.surgery.stripping import set_aside, uncompiled

# The ways that trust what layers of one's own say of themselves, in the order
# in which they are given up.
_DOUBTFUL = (Way.MODEL_CONFIG, Way.UNCHANGED, Way.CONFIG, Way.EXPANDED)


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
    with any other that leaves units without incoming weights. Zeros alone make
    no model faster, but removed units do. The new model is an ordinary Keras
    model, not compiled, without any object of kreg. The given model does not
    change.

    Layers and models of one's own are looked into. What cannot be followed
    there stays whole, and the record says why. The smaller model is made so
    that as much as possible stays what it is:

    1. by the config of the whole model with other integers, such as
       `intermediate_dim`. The class stays, and its methods with it;
    2. by the config of each layer. A subclass of `keras.Model` with a graph of
       layers is then a plain functional model;
    3. by the layers, operations and weights that the code of a layer, or of a
       subclass of `keras.Model`, calls. They take its place as layers and
       operations of Keras, and a model is then a plain functional one. What
       its outputs do not depend on is left out;
    4. or the layer stays whole. Where nothing can be removed so, the first way
       is taken with the largest size that layers with one size need.

    A class that does more than its layers, because it has a `fit`, `compile` or
    `train_step` of its own, is worth more than units: such a model stays of
    its class if the first way, with the largest sizes, removes any. The record
    says how much more could go. Choose otherwise by `keep_class`.

    Layers in which nothing changes are copied as they are. Each result is run
    on a sample, saved, loaded without kreg's classes and run again before it
    is returned. If its outputs differ from those of the model, or its file
    cannot be loaded, the next way is taken.

    These units (output channels) are removed:

    - Constant units, whose incoming weights are zero, or the `gamma` of whose
      BatchNormalization is. Their value, `activation(bias)`, is followed
      through normalization, activations, pooling, flattening and dropout. It
      is then added to the bias of the layer that reads them, which gets a bias
      if it has none.
    - Units that nothing reads, because all their outgoing weights are zero.
    - Units that only removed units read, repeatedly, also around residuals.
    - Heads of attention whose value or output weights are zero; widths of keys,
      queries and values that all of its heads can spare; heads of keys and
      values with all query heads that share them.
    - Groups of a convolution; in groups that stay, equal numbers of units.

    Padding differs from a constant that is not zero, so a convolution with
    `padding="same"` keeps one of its constant channels, which stands for all
    of them. A constant unit stays where nothing can make up for it: before a
    depthwise convolution with padding, a sum with a unit that varies, softmax,
    layer normalization (without `norms_as_operations`). Tensors that are added
    or multiplied lose a channel together or not at all. Recurrent units are
    removed only if their state stays at zero. Every layer keeps one unit.

    Under a `keras.distribution.ModelParallel` the smaller weights are split
    over the devices as before, but not along an axis whose new size the number
    of devices does not divide. `round_to` can make it divide.

    The outputs are the same in inference. In further training, moving means
    and dropout differ, because units are missing.

    Args:
        model: a built `keras.Model`. A subclass whose inputs are not known
            from its layers needs a `sample`.
        sample: a few inputs of the model, in the structure that it takes, to
            compare the two models on. Needed where random inputs would not
            do. Defaults to `None`: random floats, integers of 0 and 1, and
            masks of 1.
        round_to: int >= 1, the number of units in each layer stays a multiple
            of it, or stays as it is. Some hardware is faster then. Defaults to
            `1`.
        drop_inputs: bool, whether to remove features of the model's inputs
            (the last axis) that nothing reads, too. The small model takes
            `x[..., kept_inputs]`. Defaults to `False`.
        norms_as_operations: bool, whether normalizations over channels of which
            some are constant become operations that know the sums of the
            constants, so that those channels can go: every
            `LayerNormalization`, and `RMSNormalization` and `UnitNormalization`
            where constants are not 0. A small functional model with stock
            operations is then in the place of the layer, and runs slower than
            the layer. One that passes on a mask stays. Defaults to `False`.
        drop_tokens: which rows of embeddings go, and with them the ids that
            look them up: a sequence of ids that never occur in the inputs, or
            `"zeros"` for ids whose rows are 0, which get one id together. A
            dict of these by the names of the inputs, if several inputs are
            looked up. The small model takes `new_ids[name][x]`, with the map
            of ids that the record holds for each input; it is -1 for ids that
            must not occur. The id 0, which masks and pads, stays. Defaults to
            `None`: all rows stay.
        keep_class: bool, whether the class of the model counts more than the
            units that its config cannot remove. With `True` the model keeps
            its class, and layers that share a size in its config keep the
            largest that one of them needs. With `False` each layer loses all
            that it can, and the model is a plain functional one if need be.
            Defaults to `None`: `True` for a class that has its own way to
            train or to predict, such as a `fit`, a `compile` or a
            `train_step`, if that removes anything; `False` for others.
        return_compaction: bool, whether to return the record, too. Defaults to
            `False`.

    Returns:
        The small model; with `return_compaction=True` a tuple of it and a
        `kreg.surgery.Compaction`, which tells how many units each layer lost,
        why constant units had to stay, and which input features are left.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if it is not built, is a subclass that needs a `sample`, or
            cannot be copied, which Keras cannot, either. If ids in
            `drop_tokens` cannot go, because the model uses them or the rows
            otherwise, or has a `preprocessor` that makes them.

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
        compacting = _Compacting(
            model,
            sample,
            round_to,
            drop_inputs,
            norms_as_operations,
            drop_tokens,
            keep_class,
        )
        small = compacting.smaller_model()
    return (small, compacting.record(small)) if return_compaction else small


_NOTHING: frozenset[Way] = frozenset()


class _Compacting:
    """Makes smaller models until one computes the same, also when saved.

    Args:
        model: the model.
        sample: inputs of the model; None for random ones.
        round_to: as for `compact`.
        drop_inputs: as for `compact`.
        norms_as_operations: as for `compact`.
        drop_tokens: as for `compact`.
        keep_class: as for `compact`.
    """

    def __init__(
        self,
        model: keras.Model,
        sample: Any,
        round_to: int,
        drop_inputs: bool,
        norms_as_operations: bool,
        drop_tokens: Any,
        keep_class: bool | None,
    ) -> None:
        self._model, self._sample = model, sample
        self._round_to, self._drop_inputs = round_to, drop_inputs
        self._norms_as_operations = norms_as_operations
        self._drop_tokens = drop_tokens
        self._keep_class = keep_class
        self._class_first = (
            does_more_than_its_layers(model)
            if keep_class is None
            else keep_class
        )
        self._verification = Verification(model, sample, self._occurring)
        self._stays: dict[int, str] = {}
        self._avoid = _NOTHING
        self._shared: Mapping[tuple[int, int], int] = {}
        self._least: Mapping[tuple[int, int], int] = {}
        self._notes: list[str] = []
        self._ways: Mapping[int, Way] = {}
        self._whole = False  # whether the model must keep its class
        self._told: dict[int, bool] = {}
        self._follow()
        self._check_sample()
        self._fewest = self._values.number_of(model)

    def _follow(self) -> None:
        """Find the channels that can go, of layers that need not stay."""
        # A model of layers tells its inputs, and which of their sizes vary.
        unknown = declared_inputs(self._model) is None
        self._walked = walk(
            self._model,
            self._drop_inputs,
            self._sample if unknown else None,
            self._stays,
            norms_as_operations=self._norms_as_operations,
            drop_tokens=self._drop_tokens
            if id(self._model) not in self._stays
            else None,
        )
        network = self._walked.network
        if id(self._model) in self._stays:
            for channels in network.bundles:
                network.pin(channels, "the model stays as it is")
        self._kept = kept_channels(
            network, self._round_to, self._least_of_layers()
        )
        self._values = new_values(self._model, self._walked, self._kept)
        self._inputs = [
            self._kept(signal.channels) for signal in self._walked.inputs
        ]

    def _check_sample(self) -> None:
        """Refuse a sample with ids that are said not to occur."""
        flat = keras.tree.flatten(self._sample)
        for place, new_ids in self._walked.tokens.new_ids.items():
            if self._sample is None:
                continue
            ids = keras.ops.convert_to_numpy(flat[place]).astype(np.int64)
            if (new_ids[ids] < 0).any():
                raise ValueError(
                    "`drop_tokens` must hold no ids that occur in `sample`. "
                    f"Received: drop_tokens={shown(self._drop_tokens)}"
                )

    def _least_of_layers(self) -> list[tuple[Channels, int]]:
        """The units of layers, and how many must stay for one config."""
        return [
            (channels, count)
            for _, channels, count in self._sizes_to_keep()
            if channels is not None
        ]

    def _sizes_to_keep(
        self,
    ) -> Iterator[tuple[keras.layers.Layer, Channels | None, int]]:
        """The layers with sizes that the config of the model cannot give.

        Yields:
            The layer, its units and how many stay; None in their place if
            they do not lie along one axis, so that all must stay.
        """
        for path, layer in self._walked.paths.items():
            channels = self._walked.network.units.get(path)
            if len(flatten_layers(layer)) > 1:
                channels = None  # such as the units of attention's projections
            for variable in layer.variables:
                rank = len(variable.shape)
                for axis in range(rank):
                    count = self._least.get((id(variable), axis))
                    if count is None:
                        continue
                    if channels is None or channels.ndim > 1:
                        axes = rank if channels is None else channels.ndim
                        if axis >= rank - axes:
                            yield layer, None, count
                    elif axis == rank - 1 and len(channels) >= count:
                        yield layer, channels, count

    def smaller_model(self) -> keras.Model:
        """The first model that is as it should be."""
        if not self._class_first:
            small = self._found()
            return small or self._of_shared_sizes() or self._copy()
        self._whole = True
        small = self._found() or self._of_shared_sizes()
        if small is None and self._keep_class is None:
            self._start_again({})
            small = self._found()
        return small or self._copy()

    def _of_shared_sizes(self) -> keras.Model | None:
        """A model by its own config, with sizes that several layers share."""
        if not self._shared:
            return None
        # What the config of the model can say is better than nothing.
        self._start_again(self._shared)
        self._whole = True
        self._stays = {
            id(layer): "the config of the model has no other size for it"
            for layer, channels, _ in self._sizes_to_keep()
            if channels is None
        }
        self._follow()
        return self._found()

    def _start_again(self, least: Mapping[tuple[int, int], int]) -> None:
        self._least, self._stays, self._avoid = least, {}, _NOTHING
        self._whole = False
        self._follow()

    def _found(self) -> keras.Model | None:
        while self._changes():
            rebuild = self._rebuild()
            try:
                small = rebuild.model()
            except StuckError as stuck:
                self._shared = self._shared or rebuild.least
                self._keep(stuck.operation, stuck.reason)
                continue
            self._shared = self._shared or rebuild.least
            problem = self._verification.problem(small, self._reduced)
            if problem is None:
                self._ways = rebuild.ways
                return small
            self._step_back(set(rebuild.ways.values()), problem)
        return None

    def _rebuild(self) -> Rebuild:
        return Rebuild(
            self._model,
            self._values,
            self._walked.graph.declared,
            self._inputs,
            self._tells_all,
            lambda model: self._verification.build(model, self._reduced),
            self._avoid,
            whole=self._whole,
        )

    def _tells_all(self, layer: keras.layers.Layer) -> bool:
        """Whether the config of a layer tells all that its code does."""
        if id(layer) not in self._told:
            call = self._call_of(layer)
            self._told[id(layer)] = call is None or tells_all(layer, call)
        return self._told[id(layer)]

    def _call_of(self, layer: keras.layers.Layer) -> TracedCall | None:
        """The first call of a layer of one's own, or of a model."""
        graph = self._walked.graph.graph
        calls = (*graph.composites, *graph.calls)
        return next((call for call in calls if call.operation is layer), None)

    def _changes(self) -> bool:
        return self._values.change(self._model) or not all(
            map(np.all, self._inputs)
        )

    def _keep(self, operation: Any, reason: str) -> None:
        """Let a layer stay whole; the model, if it had to stay already."""
        if id(operation) in self._stays:
            operation = self._model
        self._stays[id(operation)] = reason
        self._follow()

    def _step_back(self, taken: set[Way], problem: str) -> None:
        """Avoid a way that was taken to a model that is not right."""
        taken -= self._avoid
        way = next((way for way in _DOUBTFUL if way in taken), None)
        if way is None:
            self._keep(self._model, f"otherwise {problem}")
            return
        self._avoid |= {way}
        what = (
            "copies of unchanged layers by their config"
            if way is Way.UNCHANGED
            else f"layers by the {way}"
        )
        self._notes.append(f"Without {what}: otherwise {problem}.")

    def _copy(self) -> keras.Model:
        """A copy of the model, of the same class.

        One that makes other calls is the last resort: it is so for inputs
        that were not tried, at most.
        """
        problems: list[str] = []
        doubtful: keras.Model | None = None
        call = self._call_of(self._model)
        for copied in copies_of(self._model):
            try:
                copy = copied()
                freeze_alike(self._model, copy)
            except Exception as error:  # whatever its layers raise
                problems.append(f"{type(error).__name__}: {error}")
                continue
            problem = self._verification.problem(copy)
            if problem is not None:
                problems.append(problem)
            elif call is None or is_alike(call, copy):
                return copy
            else:
                doubtful = doubtful or copy
        if doubtful is not None:
            return self._copy_of_graph() or doubtful
        raise ValueError(
            "`model` must be one that can be copied: give its layers a "
            "`get_config` that returns all arguments of their constructors. "
            f"Received: model={self._model!r}, and of its copies: "
            + "; ".join(problems)
        )

    def _copy_of_graph(self) -> keras.Model | None:
        """The same layers, of which each is copied by itself."""
        if not is_plain(self._model) or self._changes():
            return None
        rebuild = self._rebuild()
        try:
            copy = rebuild.model()
        except StuckError:
            return None
        if self._verification.problem(copy) is not None:
            return None
        self._ways = rebuild.ways
        return copy

    def _reduced(self, inputs: Any) -> Any:
        """The inputs of the small model: the features that stay, new ids."""
        flat = keras.tree.flatten(inputs)
        if self._drop_inputs:
            flat = [
                np.asarray(x)[..., kept] if len(kept) else x
                for x, kept in zip(flat, self._inputs, strict=True)
            ]
        for place, new_ids in self._walked.tokens.new_ids.items():
            ids = keras.ops.convert_to_numpy(flat[place])
            flat[place] = new_ids[ids.astype(np.int64)].astype(ids.dtype)
        return keras.tree.pack_sequence_as(inputs, flat)

    def _occurring(self, inputs: Any) -> Any:
        """Random inputs of which the ids that go are no part."""
        flat = keras.tree.flatten(inputs)
        generator = np.random.default_rng(0)
        for place, new_ids in self._walked.tokens.new_ids.items():
            ids = flat[place]
            drawn = generator.choice(np.flatnonzero(new_ids >= 0), ids.shape)
            flat[place] = drawn.astype(ids.dtype)
        return keras.tree.pack_sequence_as(inputs, flat)

    def record(self, small: keras.Model) -> Compaction:
        """What was done."""
        report = Report(
            self._walked, self._kept, self._values, self._ways, self._stays
        )
        if not self._verification.runs:
            self._notes.append(
                "It was saved and loaded, but not run: the model takes no "
                "inputs that can be made up. Pass a `sample`."
            )
        self._note_class(small)
        self._notes += report.notes()
        names = input_names(self._walked.graph)
        return Compaction(
            tuple(report.rows(self._model)),
            dict(zip(names, map(np.flatnonzero, self._inputs), strict=True)),
            self._model.count_params(),
            small.count_params(),
            type(self._model).__name__,
            type(small).__name__,
            tuple(self._notes),
            {
                names[place]: new_ids
                for place, new_ids in self._walked.tokens.new_ids.items()
            },
        )

    def _note_class(self, small: keras.Model) -> None:
        """Note what another choice of `keep_class` would do."""
        more = small.count_params() - self._fewest
        if type(small) is not type(self._model):
            kind = type(self._model).__name__
            self._notes.append(
                f"With `keep_class=True` it stays a {kind}, and loses what "
                "its config can say."
            )
        elif self._class_first and more > 0:
            self._notes.append(
                "With `keep_class=False`, which makes a plain functional "
                f"model, up to {more:,} parameters more can go."
            )
