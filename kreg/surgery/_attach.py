"""`kreg.attach`: put regularizers on a model that is already built."""

import dataclasses
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import keras

from kreg._arguments import model_with_weights
from kreg.binding.attached import (
    forget_attached,
    is_serializable,
    note_attached,
)
from kreg.binding.binding import BoundRegularizer, own_regularizer
from kreg.binding.bound_models import (
    ensure_bound,
    is_bound,
    renew_models_of,
    unbind,
)
from kreg.binding.ties import tie_part
from kreg.surgery._changes import Change, Changes, replace
from kreg.surgery.owned_weights import (
    attribute_for,
    common_regularizer,
    owned_weights,
    saved_layers,
    shared_attributes,
)
from kreg.surgery.rules import Assignment, Rules, assignments_of
from kreg.surgery.sample import checked_sample
from kreg.surgery.support import KeepSupport


def attach(model: keras.Model, rules: Rules, *, sample: Any = None) -> Changes:
    """Put regularizers on the weights of a model that is already built.

    It is for pretrained and loaded models. On these, setting
    `layer.kernel_regularizer` does nothing, because a layer reads it only when
    it is built. The model is changed in place: no layer is wrapped or renamed.
    The regularizers act from the next `fit` on, without compiling again, and
    are saved with the model.

    A regularizer alone goes on all kernels. For more choice, give pairs of a
    selector and a regularizer; where several select a weight, **the last one
    counts**, so put the exceptions last. A selector is one of:

    - a layer, or a type of layers: selects their kernels, however deep (a
      model or a wrapper stands for all that it holds);
    - a pattern, as for `fnmatch.fnmatchcase`, whose `*` matches `/` too. It is
      compared with the names and paths of layers, and selects the kernels of
      those that match. If no layer matches, it is compared with the paths of
      weights (`"*/bias"`) and selects those that match;
    - a variable of the model;
    - a function that takes a variable and returns whether to select it.

    A kernel is a weight whose name ends in `kernel`. Dense layers,
    convolutions and recurrent cells have kernels; embeddings have none.
    Layers, types and patterns of layers never select frozen kernels.
    Variables, patterns of weights and functions select any weight that
    training could change, so use these for biases, embeddings and
    normalization weights.

    A penalty with `groups="heads"`, such as `kreg.GroupLasso(1e-4, "heads")`,
    goes on attention layers, which a layer, a type or a pattern of layers
    selects; without a selector it goes on all of them. It ties the entries of a
    head in the query, key, value and output kernels and in the biases of the
    first three: at the minimum a head is zero in all of them or in none. A key
    head goes with all query heads that share it. A frozen weight is left out of
    its heads. A tie is on all of its weights or on none: another regularizer on
    one of them takes it off the others. The heads of Keras's and KerasHub's
    attention layers are known, and those of layers with `EinsumDense`
    projections in attributes such as `query_dense` and a number of heads in one
    such as `num_heads`. For all other code, the calls of the model tell them:
    the heads are the places along the axis that a softmax over positions leaves
    apart, in queries, keys, values and all that is computed from them. There, a
    key that all query heads share is in none. A warning names attention layers
    whose heads are not known.

    A penalty with `groups="channels"`, such as
    `kreg.GroupLasso(1e-4, "channels")`, ties all entries of weights that go
    when `kreg.compact` removes a channel. Tensors that are added or multiplied,
    as in a residual connection, have the same channels. So have the inputs and
    outputs of a depthwise convolution or a normalization. A group consists of
    these weights of the whole model:

    - the weights that write to the channel: columns of kernels, entries of
      biases, of scales and shifts of normalizations, and of depthwise kernels;
    - the weights that read it, but only where they write to nothing that could
      be removed, such as the rows of the last kernel. Other weights that read
      it belong to the channels to which they write.

    So each entry of a weight is in one group at most, and a proximal step is
    exact. `kreg.compact` removes the groups that are zero. Groups may differ in
    size; each is weighted by the square root of its size. Channels that must
    stay are in no group: inputs and outputs of the model, and those that
    `kreg.compact` cannot remove. A warning names the layers that make the
    latter, with the reasons. A layer, a type or a pattern of layers selects the
    channels to which these layers write. Channels that share a weight are one
    tie, named after the layer of its first weight.

    The model is bound, as by `kreg.bind`. One object on several weights is one
    penalty, and its multiplier holds for all of them. Attach to the model that
    you train: a compiled model around it goes on as before until it is compiled
    again.

    Some layers cannot save a regularizer, such as those of KerasHub and most
    custom ones. A regularizer on such a layer is kept beside the layers in the
    model's `.keras` file, and in copies by `copy.deepcopy` and `pickle`.
    Keras's `load_model` puts it back if kreg has been imported, and ignores it
    otherwise. Files of weights, `.h5` files and `keras.models.clone_model` do
    not keep it. A warning names the weights whose regularizer Keras cannot
    save, such as an object without a config.

    Args:
        model: a `keras.Model` with weights, compiled or not.
        rules: a regularizer (kreg's, Keras's, its name, or a function), or an
            iterable or mapping of pairs `(selector, regularizer)`. Variables
            cannot be keys of a mapping. None for a regularizer takes off the
            one that a selected weight has.
        sample: a few inputs of the model, in the structure that it takes.
            Needed for `groups="channels"` on a subclass whose inputs are not
            known from its layers, and for `groups="heads"` if such a subclass
            computes attention in code of its own. Defaults to `None`.

    Returns:
        A `kreg.surgery.Changes` with every weight whose regularizer was
        replaced, and the regularizer before. Print it for a table.

    Raises:
        TypeError: if `model` is not a `keras.Model`, or `rules` hold something
            other than selectors and regularizers.
        ValueError: if the model has no weights yet, a rule selects nothing, a
            penalty does not fit a weight, or a `sample` is needed. Nothing is
            changed then.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential([keras.Input((4,)),
    ...     keras.layers.Dense(3, name="hidden"),
    ...     keras.layers.Dense(2, name="last")], name="net")
    >>> print(kreg.attach(model, kreg.L1(1e-4)))
    place              attribute           before  after
    ────────────────────────────────────────────────────────────
    net/hidden/kernel  kernel_regularizer  -       L1(l1=0.0001)
    net/last/kernel    kernel_regularizer  -       L1(l1=0.0001)
    >>> print(kreg.attach(model, [
    ...     ("*", kreg.L2(1e-3)),
    ...     ("last", None),
    ...     (model.layers[-1].bias, keras.regularizers.L2(0.5)),
    ... ]))
    place              attribute           before         after
    ──────────────────────────────────────────────────────────────────
    net/hidden/kernel  kernel_regularizer  L1(l1=0.0001)  L2(l2=0.001)
    net/last/kernel    kernel_regularizer  L1(l1=0.0001)  -
    net/last/bias      bias_regularizer    -              L2(l2=0.5)

    References:
        For `groups="channels"`: Wen, Wu, Wang, Chen and Li, "Learning
        Structured Sparsity in Deep Neural Networks", NeurIPS 2016. Liu, Li,
        Shen, Huang, Yan and Zhang, "Learning Efficient Convolutional Networks
        through Network Slimming", ICCV 2017. Fang, Ma, Song, Mi and Wang,
        "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    model_with_weights(model)
    if sample is not None:
        sample = checked_sample(model, sample)
    assignments = assignments_of(rules, model, owned_weights(model), sample)
    with ExitStack() as undo:
        changes = [_assign(assignment, undo) for assignment in assignments]
        saved = _set_shared_attributes(model, assignments, undo)
        if not is_bound(model):
            undo.callback(unbind, model)
        ensure_bound(model)
        undo.pop_all()
    variables = [assignment.weight.variable for assignment in assignments]
    changes = [
        change if id(variable) in saved else _noted(change, variable)
        for change, variable in zip(changes, variables, strict=True)
    ]
    for variable in variables:
        if isinstance(variable.regularizer, BoundRegularizer) and isinstance(
            variable.constraint, KeepSupport
        ):
            variable.regularizer.suspended = True
    renew_models_of(variables)
    unsaved = [
        change.path
        for change in changes
        if change.attribute is None and not change.in_file
    ]
    if unsaved:
        warnings.warn(
            f"The regularizers attached to {', '.join(unsaved)} act, but will "
            "not be saved with the model, because Keras cannot save them. "
            "Attach them again to the loaded model.",
            stacklevel=2,
        )
    return Changes(
        tuple(change for change in changes if change.before is not change.after)
    )


def _assign(assignment: Assignment, undo: ExitStack) -> Change:
    """Set the regularizer of a weight, and the attribute that saves it."""
    weight, after = assignment.weight, assignment.regularizer
    before: Any = own_regularizer(weight.variable)
    attribute = attribute_for(weight)
    if attribute is not None:
        replace(weight.layer, attribute, assignment.in_attribute, undo)
    if before is not after or assignment.part is not tie_part(weight.variable):
        replace(weight.variable, "regularizer", assignment.on_variable, undo)
    return Change(weight.path, weight.layer_path, attribute, before, after)


def _noted(change: Change, variable: keras.Variable) -> Change:
    """Let the record of the model keep a regularizer that no layer saves."""
    note_attached(variable, change.before)
    is_kept = is_serializable(change.after)
    return dataclasses.replace(change, attribute=None, in_file=is_kept)


def _set_shared_attributes(
    model: keras.Model, assignments: Sequence[Assignment], undo: ExitStack
) -> set[int]:
    """Set the attributes in which a layer saves regularizers of inner layers.

    Returns:
        The `id` of each weight whose regularizer a layer now saves.
    """
    layers = saved_layers(model)
    weights = [assignment.weight for assignment in assignments]
    saved = {
        id(weight.variable): weight.variable
        for weight in weights
        if id(weight.layer) in layers
        and attribute_for(weight) is not None
        and tie_part(weight.variable) is None
    }
    chosen = {id(weight.variable) for weight in weights}
    for layer, attribute, shared in shared_attributes(model):
        if chosen.isdisjoint(map(id, shared)):
            continue
        same, regularizer = common_regularizer(shared)
        if same:
            replace(layer, attribute, regularizer, undo)
        for variable in shared:
            saved.pop(id(variable), None)
            is_tied = tie_part(variable) is not None
            if same and not is_tied and id(layer) in layers:
                saved[id(variable)] = variable
    for variable in saved.values():
        forget_attached(variable, undo)
    return set(saved)
