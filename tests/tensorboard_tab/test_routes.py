"""What the tab's server answers, against the event files written."""

import json
import math

import numpy as np
import pytest
from tensorboard_tab.event_logs import EventLog, weight
from tensorboard_tab.servers import client

RUN = "first/train"
ROUTE = "/data/plugin/kreg"
VALUES = {
    "kreg/sparsity": [0.0, 0.25, 0.5],
    "kreg_sparsity/dense/kernel": [0.1, 0.2, 0.3],
    "kreg_strength/dense/kernel/l1": [1e-4, 2e-4, 3e-4],
    "kreg_layer_sparsity/dense": [1 / 3, 2 / 3, 1.0],
}


@pytest.fixture
def log_dir(tmp_path):
    log = EventLog(tmp_path, RUN)
    log.mark([weight("dense/kernel")])
    for i, step in enumerate([0, 10, 20]):
        values = {tag: series[i] for tag, series in VALUES.items()}
        log.scalars(step, {**values, "epoch_loss": 1.0})
    log.close()
    other = EventLog(tmp_path, "other")
    other.scalars(0, {"epoch_loss": 1.0})
    other.close()
    return tmp_path


def get(log_dir, route):
    answer = client(log_dir).get(ROUTE + route)
    return answer.status_code, answer.get_data(as_text=True)


def read(log_dir, route):
    status, text = get(log_dir, route)
    assert status == 200, text
    return json.loads(text)


def listing(log_dir):
    answer = client(log_dir).get("/data/plugins_listing")
    return answer.get_json()["kreg"]


def test_values_of_many_tags_are_those_written(log_dir):
    groups = "&group=kreg_sparsity&group=kreg_strength"
    tags = "&tag=kreg/sparsity&tag=kreg_layer_sparsity/dense"
    found = read(log_dir, f"/series?run={RUN}{groups}{tags}")[RUN]
    assert found.keys() == VALUES.keys()
    for tag, series in found.items():
        assert series["steps"] == [0, 10, 20]
        assert series["values"] == np.float32(VALUES[tag]).tolist()


def test_only_what_was_asked_for(log_dir):
    found = read(log_dir, f"/series?run={RUN}&group=kreg")
    assert list(found[RUN]) == ["kreg/sparsity"]


def test_tag_that_a_run_lacks_is_left_out(log_dir):
    found = read(log_dir, f"/series?run={RUN}&tag=kreg/penalty")
    assert found == {RUN: {}}


def test_runs_are_those_of_kreg_with_their_tags_and_weights(log_dir):
    (run,) = read(log_dir, "/runs")["runs"]
    assert run["run"] == RUN
    assert run["weights"] == [weight("dense/kernel")]
    assert run["step"] == 20
    assert run["groups"] == {
        "kreg": ["sparsity"],
        "kreg_sparsity": ["dense/kernel"],
        "kreg_strength": ["dense/kernel/l1"],
        "kreg_layer_sparsity": ["dense"],
    }


def test_tab_is_shown_with_a_marker(log_dir):
    assert listing(log_dir)["enabled"] is True


def test_tab_is_not_shown_without_a_marker(tmp_path):
    log = EventLog(tmp_path, RUN)
    log.scalars(0, {"kreg/sparsity": 0.5})
    log.close()
    assert listing(tmp_path)["enabled"] is False


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", []),
        ("not json", []),
        ("[1]", []),
        ('{"version": 1}', []),
        ('{"weights": 3}', []),
        ('{"weights": [null, {}, {"path": 1}, {"path": "a"}]}', ["a"]),
        ('{"version": 99, "weights": [{"path": "a"}], "new": 1}', ["a"]),
    ],
)
def test_markers_that_are_not_as_expected(tmp_path, text, paths):
    log = EventLog(tmp_path, RUN)
    log.mark_text(text)
    log.close()
    (run,) = read(tmp_path, "/runs")["runs"]
    assert [w["path"] for w in run["weights"]] == paths
    assert listing(tmp_path)["enabled"] is True
    assert read(tmp_path, f"/series?run={RUN}&group=kreg") == {RUN: {}}


def test_latest_of_several_markers(tmp_path):
    log = EventLog(tmp_path, RUN)
    log.mark([weight("old")])
    log.mark([weight("new")])
    log.close()
    (run,) = read(tmp_path, "/runs")["runs"]
    assert [w["path"] for w in run["weights"]] == ["new"]


def test_values_that_are_not_finite_are_text(tmp_path):
    log = EventLog(tmp_path, RUN)
    for step, value in enumerate([math.nan, math.inf, -math.inf]):
        log.scalars(step, {"kreg/l2_norm": value})
    log.close()
    found = read(tmp_path, f"/series?run={RUN}&group=kreg")
    series = found[RUN]["kreg/l2_norm"]
    assert series["values"] == ["NaN", "Infinity", "-Infinity"]


def test_points_are_as_many_as_asked_for_and_the_last_is_kept(tmp_path):
    log = EventLog(tmp_path, RUN)
    for step in range(50):
        log.scalars(step, {"kreg/l2_norm": step})
    log.close()
    found = read(tmp_path, f"/series?run={RUN}&group=kreg&points=5")
    series = found[RUN]["kreg/l2_norm"]
    assert len(series["steps"]) == 5
    assert series["steps"][-1] == series["values"][-1] == 49


@pytest.mark.thorough
def test_many_lines_have_fewer_points(tmp_path):
    log = EventLog(tmp_path, RUN)
    for step in range(150):
        values = {f"kreg_sparsity/w{i}": 0.5 for i in range(700)}
        log.scalars(step, values)
    log.close()
    found = read(tmp_path, f"/series?run={RUN}&group=kreg_sparsity")[RUN]
    assert len(found) == 700
    assert {len(series["steps"]) for series in found.values()} == {100}


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 400, "`run` must be given"),
        ("run=nowhere", 404, "Received: 'nowhere'"),
        ("run=other", 404, "`run` must be a run with kreg's figures"),
        (f"run={RUN}&run=nowhere", 404, "Received: 'nowhere'"),
        (f"run={RUN}&tag=epoch_loss", 400, "Received: 'epoch_loss'"),
        (f"run={RUN}&group=kregs", 400, "`group` must be one of kreg's"),
        (f"run={RUN}&points=0", 400, "an integer from 1 to 10000"),
        (f"run={RUN}&points=many", 400, "Received: 'many'"),
        (f"run={RUN}&points={'9' * 5000}", 400, "an integer from 1 to 10000"),
        (f"run={RUN}&points=²", 400, "an integer from 1 to 10000"),
    ],
)
def test_what_cannot_be_answered_is_refused(log_dir, query, status, message):
    found, text = get(log_dir, f"/series?{query}")
    assert found == status
    assert message in text
    assert "Traceback" not in text


def test_no_runs(tmp_path):
    assert read(tmp_path, "/runs") == {"runs": []}
