"""A path's result as plain values, as files and as a table."""

import json

import numpy as np
import pytest
from selection.path_records import path, point

from kreg.selection import PathResult

WEIGHTS = ((np.eye(2), np.ones(2)), (np.zeros((2, 2)), np.ones(2)))


@pytest.fixture(name="result")
def _result():
    return path(
        point(0.1, (0, 2), loss=3.0, fraction=0.25),
        point(0.4, (), loss=2.0, fraction=1.0),
        weights=WEIGHTS,
        strength_max=0.4,
    )


def test_a_frame_has_a_row_for_each_point(result):
    pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert frame["strength"].tolist() == [0.1, 0.4]
    assert frame["validation_data_loss"].tolist() == [3.0, 2.0]
    assert frame["train_data_loss"].tolist() == [1.5, 1.0]
    assert frame["selected_inputs"].tolist() == [[0, 2], []]
    best = frame.loc[frame["validation_data_loss"].idxmin()]
    assert best["strength"] == result.best().strength
    assert not {"train", "validation"} & set(frame.columns)


def test_plain_values_are_json_and_back(result):
    values = json.loads(json.dumps(result.to_dict()))
    assert PathResult.from_dict(values) == result


def test_saved_and_loaded(result, tmp_path):
    result.save(tmp_path / "path.json")
    loaded = PathResult.load(tmp_path / "path.json")
    assert loaded == result
    for ours, theirs in zip(loaded.weights, WEIGHTS, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
