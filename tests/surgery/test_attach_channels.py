"""Penalties on whole channels: which entries of weights they tie."""

import keras
import numpy as np
import pytest
from channels import (
    MODELS,
    SAMPLE,
    branches,
    cnn,
    entries,
    let_die,
    made,
    mlp,
    numbers,
    resnet,
    ties,
    transformer,
    value,
)
from keras import layers
from thorough import few_of

import kreg

QUICK = ("mlp", "resnet", "partly fixed")
STAY = "ignore:These channels must stay"


def attached(name):
    model, sample = made(name)
    kreg.attach(model, kreg.GroupLasso(1e-3, "channels"), sample=sample)
    return model, sample


@pytest.mark.filterwarnings(STAY)
@pytest.mark.parametrize(
    "name", few_of(MODELS, "cnn", "mobilenet", "own", *QUICK)
)
def test_ties_of_a_model(name):
    model, _ = attached(name)
    found = ties(model)
    _, expected = MODELS[name]
    assert len(found) == len(expected)
    for (path, parts), (layer, (count, sizes)) in zip(
        sorted(found.items()), sorted(expected.items()), strict=True
    ):
        assert f"/{path}".endswith(f"/{layer}/channels")
        groups = entries(parts)
        assert len(groups) == count
        assert {len(group) for group in groups} == set(np.atleast_1d(sizes))


def outputs(model, x):
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x))]


def inputs_of(model, sample):
    if sample is not None:
        return sample
    rng = np.random.default_rng(2)
    found = [
        rng.integers(0, 2, size=(4, *x.shape[1:])).astype(x.dtype)
        if "int" in x.dtype
        else rng.normal(size=(4, *x.shape[1:])).astype(x.dtype)
        for x in model.inputs
    ]
    return found if len(found) > 1 else found[0]


@pytest.mark.filterwarnings(STAY)
@pytest.mark.parametrize("name", few_of(MODELS, *QUICK))
def test_dead_channels_are_removed(name):
    model, sample = attached(name)
    gone = 0
    for parts in ties(model).values():
        for group in range(1, len(entries(parts)), 2):
            let_die(parts, group)
            gone += sum(int((numbers(part) == group).sum()) for part in parts)
    small = kreg.compact(model, sample=sample)
    x = inputs_of(model, sample)
    for one, other in zip(outputs(model, x), outputs(small, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    kreg.attach(small, kreg.GroupLasso(1e-3, "channels"), sample=sample)
    before = [len(entries(parts)) for parts in ties(model).values()]
    after = [len(entries(parts)) for parts in ties(small).values()]
    assert after == [count - count // 2 for count in before]
    assert model.count_params() - small.count_params() >= gone


def test_entries_that_a_unit_reads_and_that_another_writes_are_in_one_group():
    model, _ = attached("mlp")
    weights = [
        [part.variable.path.split("/", 1)[1] for part in parts]
        for parts in ties(model).values()
    ]
    assert weights == [
        ["first/kernel", "first/bias"],
        ["second/kernel", "second/bias", "last/kernel"],
    ]


def test_mixed_weight():
    """Columns that are written to; elsewhere rows that are read."""
    model, _ = attached("partly fixed")
    groups = numbers(model.get_layer("both").kernel.regularizer.part)
    for lines in (groups[:, :2], groups[:, 2:].T):
        assert (lines == lines[:, :1]).all()
    assert len(np.unique(groups)) == 4 + 3


def test_layers_stand_for_the_channels_to_which_they_write():
    model = mlp()
    penalty = kreg.GroupLasso(1e-3, "channels")
    kreg.attach(model, [("first", penalty)])
    assert [v.path.split("/")[1] for v in model.weights if v.regularizer] == [
        "first",
        "first",
    ]


def test_any_layer_of_a_residual_stands_for_its_channels():
    model = resnet()
    kreg.attach(model, [("out_0", kreg.GroupLasso(1e-3, "channels"))])
    assert list(ties(model)) == ["stem/channels"]


def test_channels_of_some_branches():
    model = branches()
    kreg.attach(model, [("one", kreg.GroupLasso(1e-3, "channels"))])
    (parts,) = ties(model).values()
    kernel = model.get_layer("last").kernel
    assert numbers(kernel.regularizer.part)[:, 0].tolist() == [
        *[-1] * 6,
        *range(5),
    ]
    assert len(entries(parts)) == 5


def test_a_penalty_on_a_weight_takes_the_tie_off():
    model = mlp()
    kreg.attach(
        model,
        [
            (model, kreg.GroupLasso(1e-3, "channels")),
            ("first", kreg.L1(1e-4)),
        ],
    )
    assert isinstance(
        model.get_layer("first").kernel.regularizer.penalty, kreg.L1
    )
    assert model.get_layer("first").bias.regularizer is None
    assert len(ties(model)) == 1


def test_what_must_stay_is_named_with_its_reason():
    model = transformer()
    with pytest.warns(
        UserWarning,
        match=r"must stay.*6 of `words`.*6 of `narrow`: `norm_1` takes a mean",
    ):
        kreg.attach(model, kreg.GroupLasso(1e-3, "channels"))


def test_nothing_that_can_be_removed():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(
        ValueError, match=r"'channels'.*compact.*no channels but those of"
    ):
        kreg.attach(model, kreg.GroupLasso(1e-3, "channels"))
    assert model.layers[-1].kernel.regularizer is None


def test_a_selector_of_weights_is_refused():
    model = mlp()
    kernel = model.get_layer("first").kernel
    with pytest.raises(TypeError, match="must select layers"):
        kreg.attach(model, [(kernel, kreg.GroupLasso(1e-3, "channels"))])


def test_a_model_of_ones_own_needs_a_sample():
    model, _ = made("own")
    with pytest.raises(ValueError, match=r"`sample` is needed"):
        kreg.attach(model, kreg.GroupLasso(1e-3, "channels"))
    kreg.attach(model, kreg.GroupLasso(1e-3, "channels"), sample=SAMPLE)
    assert len(ties(model)) == 2


def test_values_of_weights_do_not_matter():
    model = cnn()
    for variable in model.weights:
        variable.assign(np.zeros(variable.shape))
    kreg.attach(model, kreg.GroupLasso(1e-3, "channels"))
    assert [len(entries(parts)) for parts in ties(model).values()] == [6, 4]
    for variable in model.weights:
        assert not value(variable).any()


def test_activity_regularizers_do_not_disturb():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, activity_regularizer="l2"),
            layers.Dense(2),
        ]
    )
    kreg.attach(model, kreg.GroupLasso(1e-3, "channels"))
    assert len(ties(model)) == 1
    assert len(model.losses) == 3
