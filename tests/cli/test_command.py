"""The `kreg` command and its demo."""

import os
import re
import subprocess
import sys

import pytest
from thorough import few_of

import kreg
from kreg.cli import main
from kreg.cli._demo import RUNS


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "kreg", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.tensorflow  # the logs are written by TensorFlow
def test_demo(tmp_path):
    result = run("demo", "--epochs", 2, "--log-dir", "logs", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "…" not in result.stdout
    for name in RUNS:
        assert re.search(rf"^ *{name} +\d\.\d+ ", result.stdout, re.MULTILINE)
        folder = tmp_path / "logs" / name.replace(", ", "-")
        assert list(folder.rglob("*tfevents*"))
        assert list(folder.glob("train/*tfevents*.kreg"))
    assert "tensorboard.main --logdir logs" in result.stdout
    assert "http://localhost:6006/#kreg" in result.stdout


@pytest.mark.slow
@pytest.mark.tensorflow
def test_log_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("demo", "--log-dir", tmp_path / "file" / "logs")
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("kreg: ")
    assert "Traceback" not in result.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    "start",
    few_of(
        [("-m", "kreg"), ("-c", "import kreg_command as k; k.main()")],
        ("-m", "kreg"),
    ),
)
def test_it_starts_without_messages(start):
    quiet = "TF_CPP_MIN_LOG_LEVEL"
    result = subprocess.run(
        [sys.executable, *start, "--version"],
        env={name: v for name, v in os.environ.items() if name != quiet},
        capture_output=True,
        text=True,
    )
    assert (result.stdout, result.stderr) == (f"kreg {kreg.__version__}\n", "")


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_epochs_must_be_positive(value, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["demo", "--epochs", value])
    assert raised.value.code == 2
    assert "argument --epochs" in capsys.readouterr().err


def test_no_command(capsys):
    with pytest.raises(SystemExit) as raised:
        main([])
    assert raised.value.code == 2
    assert "usage: kreg" in capsys.readouterr().err


def test_version():
    assert run("--version").stdout.strip() == f"kreg {kreg.__version__}"


def test_missing_scikit_learn_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert main(["demo", "--epochs", "1"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("kreg: the digits come with scikit-learn")
    assert "pip install 'kreg[examples]'" in err


@pytest.mark.slow
@pytest.mark.tensorflow
def test_demo_results_are_measured(tmp_path):
    from kreg.cli._demo import demo

    results = demo(tmp_path, epochs=12, seed=0)
    by_name = {result.name: result for result in results}
    assert all(result.test_accuracy > 0.85 for result in results)
    assert by_name["none"].penalty == 0.0
    assert by_name["L2"].l2_norm < by_name["none"].l2_norm
    assert by_name["L1"].l1_norm < by_name["none"].l1_norm
    assert by_name["L1, proximal"].sparsity > 0.2
    assert by_name["GroupLasso, proximal"].dead_units > 0


@pytest.mark.slow
@pytest.mark.tensorflow
def test_demo_shows_exact_zeros_beside_none_of_keras(tmp_path):
    from kreg.cli._demo import demo

    results = {r.name: r for r in demo(tmp_path, epochs=8, seed=0)}
    # Biases that nothing has moved are zero with any optimizer.
    assert results["keras L1"].sparsity < 1e-3
    assert results["L1"].sparsity < 1e-3
    assert results["L1, proximal"].sparsity > 0.1
