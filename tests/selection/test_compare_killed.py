"""A worker that is killed in the middle of training costs that training."""

import numpy as np
import pytest
from selection.compared_models import OPTIONS, PENALTIES, data, mortal_model
from selection.executors import EXECUTORS
from selection.path_records import without_seconds

from kreg.selection import Execution, compare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("workers_find_the_tests"),
    # A plain pool says that it is gone; a cluster warns of itself.
    pytest.mark.filterwarnings("ignore"),
]
QUICK = {**OPTIONS, "strengths": [0.3, 0.1], "folds": 2}


def compared(folder, **options):
    """The comparison, and how many trainings it took to their end."""
    execution = Execution(**options, verbose=0)
    quick = {**QUICK, "execution": execution}
    result = compare(mortal_model, data(), PENALTIES, **quick)
    return result, len(list(folder.glob("trained-*")))


@pytest.fixture(scope="module", name="undisturbed")
def _undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEFT", str(folder))
        return compared(folder)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("kind", EXECUTORS)
def test_the_result_is_that_of_an_undisturbed_run(
    kind, stored, tmp_path, monkeypatch, undisturbed
):
    marks = tmp_path / "marks"
    marks.mkdir()
    (marks / "kill").touch()
    monkeypatch.setenv("LEFT", str(marks))
    with EXECUTORS[kind]() as executor:
        result, trainings = compared(
            marks,
            executor=executor,
            directory=tmp_path / "stored" if stored else None,
        )
    expected, undisturbed_trainings = undisturbed
    assert (marks / "killed").exists()
    assert without_seconds(result) == without_seconds(expected)
    for a, b in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    # Without a directory the first point of the killed path is lost too.
    assert trainings == undisturbed_trainings + (0 if stored else 1)
