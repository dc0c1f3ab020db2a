"""Finding the sizes in a config that give weights of the wanted shapes."""

from itertools import pairwise

import pytest

from kreg.surgery._compact.config_search import MOST_TRIES, matching_config


def dense_pair(config):
    hidden, outputs = config["hidden"], config["outputs"]
    return [(3, hidden), (hidden,), (hidden, outputs), (outputs,)]


def heads(config):
    if config["hidden"] % config["num_heads"]:
        raise ValueError("`hidden` must be a multiple of `num_heads`")
    width = config["hidden"] // config["num_heads"]
    return [(8, config["num_heads"], width), (config["num_heads"], width, 8)]


def free_heads(config):
    size = config["heads"] * config["width"]
    return [(8, size), (size,), (size, 8)]


def gated(config):
    half = config["intermediate_dim"] // 2
    return [(8, half), (8, half), (half, 8)]


def stages(config):
    widths = [3, *config["filters"]]
    return [(3, 3, a, b) for a, b in pairwise(widths)]


def nested(config):
    return dense_pair(config["inner"]["config"])


CASES = {
    "one": (
        dense_pair,
        {"hidden": 8, "outputs": 2},
        {"hidden": 5, "outputs": 2},
    ),
    "two_that_are_equal": (
        dense_pair,
        {"hidden": 8, "outputs": 8},
        {"hidden": 5, "outputs": 7},
    ),
    "another_of_the_same_size": (
        dense_pair,
        {"vocabulary": 8, "layers": 8, "hidden": 8, "outputs": 2},
        {"vocabulary": 8, "layers": 8, "hidden": 5, "outputs": 2},
    ),
    "a_factor": (
        free_heads,
        {"heads": 4, "width": 6},
        {"heads": 3, "width": 6},
    ),
    "half": (gated, {"intermediate_dim": 16}, {"intermediate_dim": 10}),
    "together": (
        heads,
        {"num_heads": 4, "hidden": 16},
        {"num_heads": 3, "hidden": 12},
    ),
    "a_list": (
        stages,
        {"filters": [8, 16, 16]},
        {"filters": [5, 16, 9]},
    ),
    "a_tuple": (
        stages,
        {"filters": (8, 16, 16)},
        {"filters": (8, 12, 11)},
    ),
    "nested": (
        nested,
        {"inner": {"config": {"hidden": 8, "outputs": 2}}},
        {"inner": {"config": {"hidden": 3, "outputs": 2}}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_sizes_are_found(name):
    shapes_of, config, wanted = CASES[name]
    before = repr(config)
    found = matching_config(
        config, shapes_of(config), shapes_of(wanted), shapes_of
    ).config
    assert found is not None
    assert shapes_of(found) == shapes_of(wanted)
    assert {
        k: v for k, v in found.items() if k in ("vocabulary", "layers")
    } == {k: v for k, v in wanted.items() if k in ("vocabulary", "layers")}
    assert repr(config) == before


def test_one_size_for_two_that_differ_is_not_found():
    def shapes_of(config):
        tries.append(config)
        return [(3, config["hidden"]), (4, config["hidden"])]

    tries = []
    found = matching_config(
        {"hidden": 8}, [(3, 8), (4, 8)], [(3, 5), (4, 6)], shapes_of
    )
    assert found.config is None
    assert found.least == {(0, 1): 6, (1, 1): 6}
    assert len(tries) == 1


def test_the_search_ends():
    def shapes_of(config):
        tries.append(config)
        raise ValueError("no")

    tries = []
    config = {f"size_{i}": 8 for i in range(50)}
    found = matching_config(config, [(8,)], [(5,)], shapes_of)
    assert found.config is None
    assert found.least == {(0, 0): 8}
    assert len(tries) <= MOST_TRIES
