"""Arguments that cannot work are refused before a model is trained."""

import itertools
import sys

import keras
import numpy as np
import pytest
from selection.compared_models import OPTIONS, data, linear_model

from kreg import L1
from kreg.selection import Execution, Training, compare
from kreg.selection.paths.task import PathTask

X, Y = data()


@pytest.fixture(autouse=True)
def _nothing_is_trained(monkeypatch):
    def fail(*given, **named):
        raise AssertionError("a path was begun")

    monkeypatch.setattr(PathTask, "run", fail)


def refused(error, match, build_model=linear_model, rows=(X, Y), **changes):
    options = {"penalties": [L1], **OPTIONS, **changes}
    with pytest.raises(error, match=match):
        compare(build_model, rows, **options)


def test_rows_that_hold_nan():
    x = X.copy()
    x[3, 2] = np.nan
    refused(ValueError, "`data` must hold finite numbers", rows=(x, Y))


@pytest.mark.parametrize("dtype", ["U", "O"])
def test_classes_that_are_words(dtype):
    words = np.where(Y[:, 0] > 0, "yes", "no").astype(dtype)
    refused(ValueError, "`data` must hold numbers as targets", rows=(X, words))


def test_a_test_that_holds_nan():
    refused(
        ValueError,
        "`test` must hold finite numbers",
        test=(X, np.full_like(Y, np.nan)),
    )


def test_fewer_rows_than_folds():
    refused(ValueError, "folds=3, with 2 rows", rows=(X[:2], Y[:2]))


def test_one_class_to_train_on():
    labels = np.repeat([0, 1], 24)
    halves = [(range(24), range(24, 48)), (range(24, 48), range(24))]
    refused(
        ValueError,
        r"training \(fold 1\) part must have rows of at least two classes",
        rows=(X, labels),
        folds=halves,
    )


def test_data_of_one_class():
    refused(ValueError, "targets that differ", rows=(X, np.zeros(48, "int32")))


def test_folds_that_share_rows():
    refused(ValueError, "rows in both", folds=[(range(30), range(29, 48))])


def test_no_strengths():
    refused(ValueError, "`strengths` must hold", strengths=[])


def test_strengths_of_an_unknown_penalty():
    refused(ValueError, r"strengths for \['L7'\]", strengths={"L7": [0.1]})


def test_no_penalties():
    refused(ValueError, "at least one penalty", penalties=[])


def test_two_penalties_of_one_name():
    refused(ValueError, r"names \['L1', 'L1'\]", penalties=[L1, L1])


def test_a_penalty_that_is_an_object():
    refused(TypeError, "must be a function", penalties={"L1": L1(0.1)})


def test_the_same_model_twice():
    model = linear_model()
    refused(ValueError, "a new model at each call", build_model=lambda: model)


def models_with(units):
    """A `build_model` of linear models with these numbers of outputs."""

    def build_model():
        layers = [keras.Input((10,)), keras.layers.Dense(next(units))]
        model = keras.Sequential(layers)
        model.compile("sgd", "mse")
        return model

    return build_model


def test_models_that_alternate_between_two_architectures():
    build_model = models_with(itertools.cycle([1, 2]))
    refused(ValueError, "one architecture", build_model=build_model)


def test_a_later_model_of_another_architecture(monkeypatch):
    # Two are made to look at, before a path makes the third.
    monkeypatch.setattr(
        PathTask, "run", lambda task, verbose: task.build_model()
    )
    build_model = models_with(iter([1, 1, 2]))
    refused(ValueError, "one architecture", build_model=build_model)


def test_a_metric_that_the_model_does_not_have():
    auc = Training(5, monitor="auc")
    refused(ValueError, "`monitor` must be a metric", training=auc)
    refused(ValueError, "`monitor` must be", training=auc, strengths="auto")


def test_a_model_that_is_not_compiled():
    refused(
        ValueError,
        "compiled",
        build_model=lambda: keras.Sequential(
            [keras.Input((10,)), keras.layers.Dense(1)]
        ),
    )


def test_rows_that_cannot_be_left_out():
    class Batches(keras.utils.PyDataset):
        num_batches = 1

        def __getitem__(self, index):
            return X, Y

    refused(TypeError, "folds are made of rows", rows=Batches())


@pytest.mark.parametrize("test", [0.0, 1.0, -0.1, 2])
def test_a_fraction_that_is_none(test):
    refused(ValueError, f"Received: test={test}", test=test)


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1]])
def test_seeds_that_are_none(seeds):
    refused(ValueError, "`seeds` must hold at least one integer", seeds=seeds)


@pytest.mark.parametrize("seeds", [3, "12", [0.5], [True]])
def test_seeds_of_the_wrong_type(seeds):
    refused(TypeError, "`seeds` must", seeds=seeds)


def test_an_executor_that_is_none():
    with pytest.raises(TypeError, match="`executor` must be a `concurrent"):
        Execution(4)
    refused(TypeError, "`execution` must be a", execution=4)


def test_an_argument_that_compare_sets_itself():
    refused(TypeError, "argument 'validation_split'", validation_split=0.2)


@pytest.mark.parametrize("package", ["sklearn", "scipy"])
def test_the_extra_is_named_where_a_package_is_absent(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    refused(ImportError, r'`compare` needs.*install "kreg\[selection\]"')


def test_an_unknown_rule():
    refused(ValueError, "`select` must be", select="sparsest")


def test_a_penalty_on_no_weight():
    refused(ValueError, "which matches none", penalties=[(L1, "*/none*")])
