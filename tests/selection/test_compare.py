"""Penalties are compared on the same rows, and the choice is tested once."""

import io
import json
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from event_files import events, metadata
from rich.console import Console
from selection.compared_models import (
    OPTIONS,
    PENALTIES,
    STRENGTHS,
    data,
    linear_model,
)
from selection.path_records import path, point
from selection.solved_paths import solved_path

from kreg import L1, L2
from kreg.selection import (
    CompareResult,
    Execution,
    StrengthGrid,
    compare,
)
from kreg.selection.comparison import figures as comparison_figures
from kreg.selection.comparison import run as comparison_run
from kreg.selection.paths.task import PathTask
from kreg.selection.strengths.grid import Unpenalized


@pytest.fixture(autouse=True)
def _solved_at_once(monkeypatch):
    """Solve linear models in place of training them."""
    monkeypatch.setattr(PathTask, "run", solved_path)


@pytest.fixture(name="result")
def _result(_solved_at_once):
    return compare(
        linear_model, data(), PENALTIES, test=data(40, seed=1), **OPTIONS
    )


def test_a_row_for_every_penalty_and_strength(result):
    rows = [(row.penalty, row.strength) for row in result.rows]
    assert rows == [("none", 0.0), *(("L1", s) for s in STRENGTHS)]


def test_a_score_for_every_fold(result):
    assert {len(row.scores) for row in result.rows} == {3}
    for row in result.rows:
        assert row.mean == pytest.approx(np.mean(row.scores))
        error = np.std(row.scores, ddof=1) / np.sqrt(3)
        assert row.standard_error == pytest.approx(error)


def test_the_planted_penalty_is_chosen(result):
    assert result.chosen_penalty == "L1"
    assert result.chosen.sparsity > 0.5


def test_other_test_rows_change_nothing_but_the_test(result):
    x, y = data(40, seed=1)
    other = compare(
        linear_model, data(), PENALTIES, test=(1e3 * x, -y), **OPTIONS
    )
    ours, theirs = other.to_dict(), result.to_dict()
    assert ours.pop("test") != theirs.pop("test")
    assert ours.pop("verdict") != theirs.pop("verdict")
    assert ours == theirs
    for a, b in zip(other.weights, result.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_fold_is_judged_on_rows_that_it_was_not_trained_on(monkeypatch):
    seen = []

    class Seen(comparison_run.PathTask):
        def __call__(self):
            seen.append((self.data.train.x, self.data.validation))
            return super().__call__()

    monkeypatch.setattr(comparison_run, "PathTask", Seen)
    x, y = data()
    options = {**OPTIONS, "strengths": [0.3]}
    compare(linear_model, (x, y), [L1], test=1 / 4, **options)
    *folds, (refitted, none) = seen
    left_out = [validation.x for _, validation in folds]
    assert none is None
    rows = {row.tobytes() for row in refitted}
    assert len(rows) == 36  # and 12 set aside
    assert len({row.tobytes() for part in left_out for row in part}) == 36
    for trained, validation in folds:
        trained_rows = {row.tobytes() for row in trained}
        kept = {row.tobytes() for row in validation.x}
        assert not trained_rows & kept
        assert trained_rows | kept == rows


def test_the_test_rows_are_evaluated_once_and_last(monkeypatch):
    done = []

    def logged_path(task, verbose):
        done.append("path")
        return solved_path(task, verbose)

    def logged_test(*arguments):
        done.append("test")
        return {"data_loss": 0.5}

    monkeypatch.setattr(PathTask, "run", logged_path)
    monkeypatch.setattr(comparison_figures, "figures_of_weights", logged_test)
    options = {**OPTIONS, "strengths": [0.3]}
    result = compare(linear_model, data(), [L1], test=0.25, **options)
    assert done == ["path"] * 4 + ["test"]  # three folds, and all rows
    assert result.test == {"data_loss": 0.5}


def test_noise_that_was_fitted_is_found_out():
    # The targets are chance: only what is left out can tell.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 10)).astype("float32")
    y = rng.normal(size=(30, 1)).astype("float32")
    options = {**OPTIONS, "strengths": [0.01, 2.0]}
    result = compare(linear_model, (x, y), [L1], **options)
    strong, weak = sorted(result.rows, key=lambda row: -row.strength)
    assert weak.train_mean < strong.train_mean
    assert weak.mean > strong.mean
    assert result.chosen is strong


def test_strengths_of_a_grid_are_the_same_in_all_folds():
    options = {**OPTIONS, "strengths": StrengthGrid(3, ratio=0.1)}
    x, y = data()
    result = compare(linear_model, (x, y), [L1], **options)
    top = 2.0 * np.abs(x.T @ (y - y.mean())).max() / len(x)
    strengths = [row.strength for row in result.rows]
    expected = top * np.array([1.0, np.sqrt(0.1), 0.1])
    np.testing.assert_allclose(strengths, expected, rtol=1e-4)


def test_strengths_of_each_penalty():
    options = {**OPTIONS, "strengths": {"L1": [0.3], "L2": [0.1, 0.2]}}
    result = compare(linear_model, data(), [L1, L2], **options)
    assert [row.strength for row in result.rows_of("L1")] == [0.3]
    assert {row.strength for row in result.rows_of("L2")} == {0.1, 0.2}


def crafted_path(validation_losses):
    """A path whose points have the losses of the next list."""
    losses = iter(validation_losses)
    strengths_seen = []

    def crafted(task, verbose):
        strengths_seen.append(task.strengths)
        strengths = task.strengths.values
        drawn = next(losses)[: len(strengths)]
        points = [
            point(strength, loss=loss)
            for strength, loss in zip(strengths, drawn, strict=True)
        ]
        return path(*points, weights=[(np.zeros(1),)] * len(points))

    return crafted, strengths_seen


NONE_OF_THREE_FOLDS = [[5.0, 3.0, 4.0], [5.0, 2.0, 9.0], [1.0, 4.0, 3.0]]


def network():
    """A model that is trained without a penalty in portions."""
    layers = [keras.layers.Dense(2, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((10,)), *layers])
    model.compile("adam", "mse")
    return model


def none_beside_l1(monkeypatch, **changes):
    l1 = [9.0, 9.0, 9.0]
    losses = [each for fold in NONE_OF_THREE_FOLDS for each in (fold, l1)]
    crafted, seen = crafted_path([*losses, l1])
    monkeypatch.setattr(PathTask, "run", crafted)
    result = compare(network, data(), PENALTIES, **OPTIONS, **changes)
    return result, seen


@pytest.mark.parametrize("select", ["best", "one_standard_error", 0.9])
def test_no_penalty_stops_where_the_folds_say(monkeypatch, select):
    result, seen = none_beside_l1(monkeypatch, select=select)
    (row,) = result.rows_of("none")
    assert row.scores == (3.0, 2.0, 4.0)  # means are 11, 9 and 16 thirds
    assert row.epochs == 2  # a pass for each point of the crafted path
    assert result.chosen_penalty == "none"
    assert seen[0] == Unpenalized(portions=3)
    assert seen[-1] == Unpenalized(portions=2)


def test_no_fold_has_a_say_in_where_it_is_judged(monkeypatch):
    result, _ = none_beside_l1(monkeypatch)
    losses = np.array(NONE_OF_THREE_FOLDS)
    others = [losses[np.arange(3) != fold].mean(axis=0) for fold in range(3)]
    held_out = [losses[i, each.argmin()] for i, each in enumerate(others)]
    (pair,) = result.comparisons
    assert pair.difference == pytest.approx(np.mean(held_out) - 9.0)


def test_no_penalty_is_given_the_passes_of_the_longest_path(monkeypatch):
    seen = []

    def watched(task, verbose):
        seen.append((task.strengths, task.training.epochs))
        return solved_path(replace(task, penalty=L1), verbose)

    monkeypatch.setattr(PathTask, "run", watched)
    grids = {"L1": [0.1, 0.2], "L2": StrengthGrid(4)}
    options = {**OPTIONS, "strengths": grids}
    penalties = {"none": None, "L1": L1, "L2": L2}
    compare(linear_model, data(), penalties, **options)
    of_none = {each for each in seen if isinstance(each[0], Unpenalized)}
    assert of_none == {(Unpenalized(portions=1, length=4), 4 * 64)}


def test_several_seeds_are_several_sets_of_folds():
    options = {**OPTIONS, "strengths": [0.3], "folds": 2}
    both = compare(linear_model, data(), [L1], seeds=(3, 4), **options)
    scores = [
        compare(linear_model, data(), [L1], seeds=[seed], **options)
        .rows[0]
        .scores
        for seed in (3, 4)
    ]
    assert both.rows[0].scores == (*scores[0], *scores[1])


def test_a_sparsity_is_chosen_by():
    result = compare(linear_model, data(), PENALTIES, select=0.75, **OPTIONS)
    reaching = [row.strength for row in result.rows if row.sparsity >= 0.75]
    assert result.chosen.strength == min(reaching)


def test_saved_and_loaded(result, tmp_path):
    result.save(tmp_path / "result.json")
    loaded = CompareResult.load(tmp_path / "result.json")
    assert loaded == result
    for ours, theirs in zip(loaded.weights, result.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_to_dict_is_json(result):
    assert CompareResult.from_dict(
        json.loads(json.dumps(result.to_dict()))
    ) == CompareResult.from_dict(result.to_dict())


def test_to_pandas(result):
    pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert frame["mean"].tolist() == [row.mean for row in result.rows]
    assert frame["penalty"].tolist() == [row.penalty for row in result.rows]
    best = frame.sort_values("mean").iloc[0]
    assert best["strength"] == result.best().strength


def test_pandas_is_named_where_it_is_absent(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        result.to_pandas()


def test_printed(result):
    text = io.StringIO()
    result.print(console=Console(file=text, width=100))
    printed = text.getvalue()
    assert "data_loss of what 3 folds left out" in printed
    assert f"{result.chosen.mean:.4g}" in printed
    assert " ".join(result.verdict.split()) in " ".join(printed.split())
    assert str(result).splitlines()[0].strip() in printed


def test_the_verdict_tells_the_choice_and_the_test(result):
    assert result.verdict.startswith(
        f"L1 at strength {result.chosen.strength:.4g}: data_loss "
        f"{result.chosen.mean:.4g}"
    )
    assert " none." in result.verdict
    assert f"data_loss {result.test['data_loss']:.4g}." in result.verdict


def test_trials_of_the_hparams_page(tmp_path):
    options = {**OPTIONS, "strengths": [1.0, 0.3]}
    result = compare(linear_model, data(), [L1], **options)
    result.write_hparams(tmp_path)
    for row in result.rows:
        trial = tmp_path / f"L1-{row.strength:.6g}"
        found = {tag: values[0][1] for tag, values in events(trial).items()}
        assert found["kreg_compare/validation"] == pytest.approx(row.mean)
        assert found["kreg_compare/sparsity"] == pytest.approx(row.sparsity)
        names = set(metadata(trial).values())
        assert "hparams" in names


def test_another_comparison_in_a_directory_is_refused(tmp_path):
    kept = Execution(directory=tmp_path, verbose=0)
    options = {**OPTIONS, "execution": kept}
    compare(linear_model, data(), PENALTIES, **options)
    with pytest.raises(ValueError, match=r"seeds \(\[0\] there, \[1\] here\)"):
        compare(linear_model, data(), PENALTIES, seeds=[1], **options)
    with pytest.raises(ValueError, match=r"has other data, folds$"):
        compare(linear_model, data(47), PENALTIES, **options)


def test_another_rule_needs_no_new_folds(tmp_path, monkeypatch):
    kept = Execution(directory=tmp_path, verbose=0)
    options = {**OPTIONS, "execution": kept}
    first = compare(linear_model, data(), PENALTIES, **options)
    paths = []
    monkeypatch.setattr(
        PathTask,
        "run",
        lambda task, verbose: paths.append(task) or solved_path(task, verbose),
    )
    best = compare(linear_model, data(), PENALTIES, select="best", **options)
    assert best.rows == first.rows
    assert len(paths) <= 1  # up to another strength, on all rows
