"""Making smaller models until one computes the same, even when loaded."""

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
    is_plain_model,
)
from kreg.error_messages import one_line
from kreg.layers.channels.network import Channels
from kreg.surgery._compact.compaction import Compaction
from kreg.surgery._compact.copies import freeze_alike, tells_all
from kreg.surgery._compact.kept_channels import kept_channels
from kreg.surgery._compact.new_values import new_values
from kreg.surgery._compact.rebuild import Rebuild
from kreg.surgery._compact.report import Report
from kreg.surgery._compact.smaller_layers import StuckError, Way
from kreg.surgery._compact.tokens import input_names
from kreg.surgery._compact.verification import Verification
from kreg.surgery._compact.walk import walk
from kreg.surgery.stripped_copy import copies_of

# The ways that rely on configs and code of custom layers, in the order in which
# they are given up.
_DOUBTFUL = (Way.MODEL_CONFIG, Way.UNCHANGED, Way.CONFIG, Way.EXPANDED)
_NOTHING: frozenset[Way] = frozenset()
# The methods by which a model is trained or used.
_USES = (
    *("compile", "fit", "evaluate", "predict"),
    *("train_step", "test_step", "predict_step"),
    *("compute_loss", "compute_metrics"),
)


@dataclass(frozen=True)
class Options:
    """The arguments of `compact` with the same names."""

    round_to: int
    drop_inputs: bool
    norms_as_operations: bool
    drop_tokens: Any
    keep_class: bool | None


class Compacting:
    """Makes smaller models until one computes the same, even when loaded.

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
            _has_own_uses(model)
            if options.keep_class is None
            else options.keep_class
        )
        self._verification = Verification(model, sample, self._occurring)
        self._opaque: dict[int, str] = {}  # why layers stay whole, by `id`
        self._avoid = _NOTHING
        self._least_by_config: Mapping[tuple[int, int], int] = {}
        self._least_sizes: Mapping[tuple[int, int], int] = {}
        self._notes: list[str] = []
        self._ways: Mapping[int, Way] = {}
        self._keep_class = False  # whether the model must keep its class now
        self._tells_all_of: dict[int, bool] = {}
        self._follow()
        self._check_sample()
        self._fewest = self._values.number_of(model)

    def _follow(self) -> None:
        """Find the channels that can go in layers that need not stay."""
        # A functional model declares its inputs, and which sizes are open.
        needs_sample = declared_inputs(self._model) is None
        self._walked = walk(
            self._model,
            self._options.drop_inputs,
            self._sample if needs_sample else None,
            self._opaque,
            norms_as_operations=self._options.norms_as_operations,
            drop_tokens=self._options.drop_tokens
            if id(self._model) not in self._opaque
            else None,
        )
        network = self._walked.network
        if id(self._model) in self._opaque:
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
        """Refuse a sample with ids that go, because they must not occur."""
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
        """The units of layers that share a size, and how many must stay."""
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
            The layer, its units, and how many of them must stay. The units are
            None if they do not lie along one axis. Then all of them stay.
        """
        for path, layer in self._walked.paths.items():
            channels = self._walked.network.units.get(path)
            if len(flatten_layers(layer)) > 1:
                channels = None  # such as the units of attention's projections
            for variable in layer.variables:
                rank = len(variable.shape)
                for axis in range(rank):
                    count = self._least_sizes.get((id(variable), axis))
                    if count is None:
                        continue
                    if channels is None or channels.ndim > 1:
                        axes = rank if channels is None else channels.ndim
                        if axis >= rank - axes:
                            yield layer, None, count
                    elif axis == rank - 1 and len(channels) >= count:
                        yield layer, channels, count

    def smaller_model(self) -> keras.Model:
        """The first smaller model that passes verification, or a copy."""
        if not self._class_first:
            small = self._verified()
            return small or self._of_shared_sizes() or self._copy()
        self._keep_class = True
        small = self._verified() or self._of_shared_sizes()
        if small is None and self._options.keep_class is None:
            self._start_again({})
            small = self._verified()
        return small or self._copy()

    def _of_shared_sizes(self) -> keras.Model | None:
        """A model by its own config, with sizes that several layers share."""
        if not self._least_by_config:
            return None
        # The config of the model can remove some units, if not all.
        self._start_again(self._least_by_config)
        self._keep_class = True
        self._opaque = {
            id(layer): "the config of the model has no other size for it"
            for layer, channels, _ in self._sizes_to_keep()
            if channels is None
        }
        self._follow()
        return self._verified()

    def _start_again(self, least_sizes: Mapping[tuple[int, int], int]) -> None:
        self._least_sizes, self._opaque, self._avoid = least_sizes, {}, _NOTHING
        self._keep_class = False
        self._follow()

    def _verified(self) -> keras.Model | None:
        """The first smaller model that passes verification, if any does."""
        while self._changes():
            rebuild = self._rebuild()
            try:
                small = rebuild.model()
            except StuckError as stuck:
                self._keep(stuck.operation, stuck.reason)
                continue
            finally:
                self._least_by_config = (
                    self._least_by_config or rebuild.least_sizes
                )
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
            self._verification.unknown,
            lambda model: self._verification.build(model, self._reduced),
            self._avoid,
            keep_class=self._keep_class,
        )

    def _tells_all(self, layer: keras.layers.Layer) -> bool:
        """Whether the config of a layer tells all that its code does."""
        if id(layer) not in self._tells_all_of:
            call = self._call_of(layer)
            self._tells_all_of[id(layer)] = call is None or tells_all(
                layer, call
            )
        return self._tells_all_of[id(layer)]

    def _call_of(self, layer: keras.layers.Layer) -> TracedCall | None:
        """The first call of a custom layer, or of a model."""
        graph = self._walked.graph.graph
        calls = (*graph.composites, *graph.calls)
        return next((call for call in calls if call.operation is layer), None)

    def _changes(self) -> bool:
        return self._values.change(self._model) or not all(
            map(np.all, self._inputs)
        )

    def _keep(self, operation: Any, reason: str) -> None:
        """Keep a layer whole. If it had to stay already, keep the model so."""
        if id(operation) in self._opaque:
            operation = self._model
        self._opaque[id(operation)] = reason
        self._follow()

    def _step_back(self, taken: set[Way], problem: str) -> None:
        """Avoid one of the ways that led to a model with a problem."""
        taken -= self._avoid
        way = next((way for way in _DOUBTFUL if way in taken), None)
        if way is None:
            self._keep(self._model, f"otherwise {problem}")
            return
        self._avoid |= {way}
        avoided = (
            "copies of unchanged layers by their config"
            if way is Way.UNCHANGED
            else f"layers by the {way}"
        )
        self._notes.append(f"Without {avoided}: otherwise {problem}.")

    def _copy(self) -> keras.Model:
        """A copy of the model, of the same class.

        A copy whose code makes other calls is the last resort. It computes the
        same on all inputs that were tried.
        """
        problems: list[str] = []
        doubtful: keras.Model | None = None
        call = self._call_of(self._model)
        for copied in copies_of(self._model):
            try:
                copy = copied()
                freeze_alike(self._model, copy)
            except Exception as error:  # whatever its layers raise
                problems.append(one_line(error))
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
        """A model of the same layers, each of which is copied by itself."""
        if not is_plain_model(self._model) or self._changes():
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
        """The inputs of the small model: features that stay, and new ids."""
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
        """Random inputs without the ids that go."""
        flat = keras.tree.flatten(inputs)
        generator = np.random.default_rng(0)
        for place, new_ids in self._walked.tokens.new_ids.items():
            ids = flat[place]
            drawn = generator.choice(np.flatnonzero(new_ids >= 0), ids.shape)
            flat[place] = drawn.astype(ids.dtype)
        return keras.tree.pack_sequence_as(inputs, flat)

    def record(self, small: keras.Model) -> Compaction:
        """The record of what was removed, and of what stays and why."""
        report = Report(
            self._walked, self._kept, self._values, self._ways, self._opaque
        )
        if not self._verification.runs:
            self._notes.append(
                "It was saved and loaded, but not run: the model takes no "
                "inputs that can be made up. Pass a `sample`."
            )
        if self._options.drop_tokens is not None and (
            id(self._model) in self._opaque
        ):
            reason = self._opaque[id(self._model)]
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


def _has_own_uses(model: keras.Model) -> bool:
    """Whether the class of a model has its own way to be trained or used."""
    return any(
        getattr(type(model), name).__module__.split(".")[0] != "keras"
        for name in _USES
    )
