"""Making smaller models until one computes the same, also when saved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kreg._arguments import shown
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
from kreg.surgery.stripped_copy import copies_of

# The ways that trust what layers of one's own say of themselves, in the order
# in which they are given up.
_DOUBTFUL = (Way.MODEL_CONFIG, Way.UNCHANGED, Way.CONFIG, Way.EXPANDED)
_NOTHING: frozenset[Way] = frozenset()


@dataclass(frozen=True)
class Options:
    """The arguments of `compact` by these names."""

    round_to: int
    drop_inputs: bool
    norms_as_operations: bool
    drop_tokens: Any
    keep_class: bool | None


class Compacting:
    """Makes smaller models until one computes the same, also when saved.

    Args:
        model: the model.
        sample: inputs of the model; None for random ones.
        options: what may go, and how.
    """

    def __init__(
        self,
        model: keras.Model,
        sample: Any,
        options: Options,
    ) -> None:
        self._model, self._sample, self._options = model, sample, options
        self._class_first = (
            does_more_than_its_layers(model)
            if options.keep_class is None
            else options.keep_class
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
            self._options.drop_inputs,
            self._sample if unknown else None,
            self._stays,
            norms_as_operations=self._options.norms_as_operations,
            drop_tokens=self._options.drop_tokens
            if id(self._model) not in self._stays
            else None,
        )
        network = self._walked.network
        if id(self._model) in self._stays:
            for channels in network.bundles:
                network.pin(channels, "the model stays as it is")
        self._kept = kept_channels(
            network, self._options.round_to, self._least_of_layers()
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
                    f"Received: drop_tokens={shown(self._options.drop_tokens)}"
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
        if small is None and self._options.keep_class is None:
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
        if self._options.drop_inputs:
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
        if self._options.drop_tokens is not None and (
            id(self._model) in self._stays
        ):
            reason = self._stays[id(self._model)]
            self._notes.append(f"No ids of `drop_tokens` go: {reason}.")
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
