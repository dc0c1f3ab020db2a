"""A run whose event file holds anything never harms the other runs."""

import json
import os

import numpy as np
import pytest
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.util.tensor_util import make_tensor_proto
from tensorboard_tab.event_logs import EventLog, weight
from tensorboard_tab.servers import client

ROUTE = "/data/plugin/kreg"
BAD = "bad/train"


def nested(depth):
    return "[" * depth + "]" * depth


def marker(**changes):
    return json.dumps({"version": 1, "weights": [weight("a") | changes]})


# What the marker of the bad run holds, and the weights that remain.
TEXTS = {
    "nested": (f'{{"weights": {nested(100_000)}}}', []),
    "nested in a weight": (
        f'{{"weights": [{{"path": "a", "shape": {nested(900)}}}]}}',
        [{"path": "a"}],
    ),
    "nested beside the weights": (
        f'{{"weights": [{{"path": "a"}}], "more": {nested(900)}}}',
        [{"path": "a"}],
    ),
    "cut": (marker()[:-9], []),
    "empty": ("", []),
    "no object": ("3", []),
    "weights by name": ('{"weights": {"path": "a"}}', []),
    "not UTF-8": (b'{"weights": [{"path": "\xff\xfe"}]}', []),
    "huge": (f'{{"weights": [{{"path": "{"a" * 2**24}"}}]}}', []),
    "a huge number": (f'{{"weights": [{{"path": 1{"0" * 5000}}}]}}', []),
    "a size that JavaScript lacks": (
        marker(size=10**30, shape=[10**30]),
        [{"path": "a", "layer": "", "regularizer": "L1"}],
    ),
    "numbers that are none": (
        marker(size=float("nan"), shape=[float("inf"), True]),
        [{"path": "a", "layer": "", "regularizer": "L1"}],
    ),
    "wrong types": (
        marker(layer=3, regularizer={"a": 1}, size="9", shape="9"),
        [{"path": "a"}],
    ),
    "half a character": (
        '{"weights": [{"path": "\\ud800"}]}',
        [{"path": "\ud800"}],
    ),
}


def shapeless():
    tensor = make_tensor_proto(np.ones(3))
    tensor.tensor_shape.dim[0].size = 7
    return tensor


TENSORS = {
    "several numbers": make_tensor_proto(np.ones(3)),
    "no number": make_tensor_proto(np.ones(0)),
    "a shape that is wrong": shapeless(),
    "an unknown type": TensorProto(dtype=77),
    "no type": TensorProto(),
    "bytes": make_tensor_proto(b"\xff\xfe"),
    "a complex number": make_tensor_proto(1j),
}


def good_run(folder):
    log = EventLog(folder, "good/train")
    log.mark([weight("dense/kernel")])
    log.scalars(0, {"kreg/sparsity": 0.5, "kreg_sparsity/dense/kernel": 0.25})
    log.close()


def answers(folder):
    """The runs, and the series of the good and the bad one."""
    asking = client(folder)
    assert asking.get("/data/plugins_listing").get_json()["kreg"]["enabled"]
    answer = asking.get(f"{ROUTE}/runs")
    assert answer.status_code == 200, answer.get_data(as_text=True)[-500:]
    runs = {run["run"]: run for run in answer.get_json()["runs"]}
    wanted = "".join(f"&run={run}" for run in runs)
    answer = asking.get(f"{ROUTE}/series?group=kreg_sparsity{wanted}")
    assert answer.status_code == 200, answer.get_data(as_text=True)[-500:]
    series = answer.get_json()
    assert runs["good/train"]["weights"] == [weight("dense/kernel")]
    assert series["good/train"]["kreg_sparsity/dense/kernel"] == {
        "steps": [0],
        "values": [0.25],
    }
    return runs, series


@pytest.mark.parametrize("name", TEXTS)
def test_markers_of_any_text(tmp_path, name):
    text, weights = TEXTS[name]
    good_run(tmp_path)
    log = EventLog(tmp_path, BAD)
    log.mark_text(text)
    log.scalars(0, {"kreg_sparsity/a": 0.5})
    log.close()
    runs, series = answers(tmp_path)
    assert runs[BAD]["weights"] == weights
    assert series[BAD]["kreg_sparsity/a"]["values"] == [0.5]


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_any_kind(tmp_path, name):
    good_run(tmp_path)
    log = EventLog(tmp_path, BAD)
    log.mark_tensor(TENSORS[name])
    log.scalars(0, {"kreg_sparsity/a": 0.5})
    log.scalar_tensor("kreg_sparsity/b", TENSORS[name])
    log.close()
    runs, series = answers(tmp_path)
    assert runs[BAD]["weights"] == []
    assert series[BAD] == {
        "kreg_sparsity/a": {"steps": [0], "values": [0.5]},
    }


def test_many_bad_runs_among_many(tmp_path):
    good_run(tmp_path)
    for i in range(20):
        log = EventLog(tmp_path, f"run_{i:02}")
        tensor = TENSORS["an unknown type"]
        if i % 3:
            tensor = make_tensor_proto(marker())
        log.mark_tensor(tensor)
        log.scalar_tensor("kreg_sparsity/b", tensor)
        log.scalars(0, {"kreg_sparsity/a": i})
        log.close()
    runs, series = answers(tmp_path)
    for i in range(20):
        run = f"run_{i:02}"
        assert runs[run]["weights"] == ([weight("a")] if i % 3 else [])
        assert series[run]["kreg_sparsity/a"]["values"] == [i]


def test_times_that_are_no_numbers(tmp_path):
    good_run(tmp_path)
    log = EventLog(tmp_path, BAD)
    log._time = float("nan")
    log.scalars(0, {"kreg_sparsity/a": 0.5})
    log.close()
    runs, _ = answers(tmp_path)
    assert runs[BAD]["time"] == 0


def overwritten(file, start, content):
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(content)


DAMAGE = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: os.truncate(file, file.stat().st_size - 9),
    "cut at its start": lambda file: os.truncate(file, 5),
    "random": lambda file: file.write_bytes(bytes(range(256)) * 40),
    "overwritten": lambda file: overwritten(file, 40, b"\xff" * 30),
    "a huge length": lambda file: overwritten(file, 0, b"\xff" * 8),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_files_that_are_damaged(tmp_path, name):
    good_run(tmp_path)
    log = EventLog(tmp_path, BAD)
    log.mark([weight("a")])
    log.scalars(0, {"kreg_sparsity/a": 0.5})
    log.close()
    (file,) = (tmp_path / BAD).iterdir()
    DAMAGE[name](file)
    answers(tmp_path)
