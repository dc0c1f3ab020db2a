"""The results and the output of each command on a model."""

import json
import zipfile

import keras
import numpy as np
import pytest
from cli.saved_files import COMMANDS, network, run, trained

import kreg
from kreg.cli import main

X = np.random.default_rng(1).normal(size=(5, 8)).astype("float32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained model, and the file that it is in."""
    model = trained()
    path = tmp_path_factory.mktemp("saved") / "net.keras"
    model.save(path)
    return model, path


def strictly(text):
    """Parse JSON strictly, without NaN."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_inspect_shows_the_summary(saved, capsys):
    _, path = saved
    status, out, err = run(capsys, "inspect", path)
    assert (status, err) == (0, "")
    assert "hidden/kernel  GroupLasso 0.001" in out
    assert "8/16" in out
    assert "The linter finds nothing." in out


def test_inspect_shows_the_findings(tmp_path, capsys):
    model = network()
    model.compile("sgd", "mse")
    model.save(tmp_path / "net.keras")
    status, out, _ = run(capsys, "inspect", tmp_path / "net.keras")
    assert status == 0
    model = keras.saving.load_model(tmp_path / "net.keras")
    for finding in kreg.check(model):
        assert f"{finding.rule}: {finding}" in out.splitlines()
    assert "no-exact-zeros" in out


def test_inspect_folds_no_path(tmp_path, capsys):
    names = [f"{'long' * 20}_{i}" for i in range(2)]
    layers = [keras.layers.Dense(2, name=name) for name in names]
    keras.Sequential([keras.Input((2,)), *layers]).save(tmp_path / "a.keras")
    _, out, _ = run(capsys, "inspect", tmp_path / "a.keras")
    assert all(f"{name}/kernel" in out for name in names)


def test_inspect_says_that_a_model_is_not_compiled(tmp_path, capsys):
    network().save(tmp_path / "net.keras")
    _, out, _ = run(capsys, "inspect", tmp_path / "net.keras")
    assert "It is not compiled" in out


def test_inspect_as_json(saved, capsys):
    model, path = saved
    status, out, err = run(capsys, "inspect", path, "--json")
    assert (status, err) == (0, "")
    record = strictly(out)
    assert record["findings"] == []
    assert record["reading"]["dead_units"] == 8
    zeros = [int(np.sum(w == 0.0)) for w in model.get_weights()]
    assert [w["zeros"] for w in record["reading"]["weights"]] == zeros


def test_what_is_not_finite_is_null(tmp_path, capsys):
    model = network()
    model.layers[0].kernel.assign(np.full((8, 16), np.nan))
    model.save(tmp_path / "net.keras")
    _, out, _ = run(capsys, "inspect", tmp_path / "net.keras", "--json")
    assert strictly(out)["reading"]["weights"][0]["l2_norm"] is None


def test_strip_takes_kreg_off(saved, tmp_path, capsys):
    model, path = saved
    output = tmp_path / "plain.keras"
    status, out, err = run(capsys, "strip", path, output)
    assert (status, err) == (0, "")
    assert "ProximalOptimizer" in out
    with zipfile.ZipFile(output) as archive:
        assert b"kreg" not in archive.read("config.json")
    loaded = keras.saving.load_model(output)
    for ours, theirs in zip(
        loaded.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_strip_keeps_the_optimizer_inside(saved, tmp_path, capsys):
    model, path = saved
    output = tmp_path / "plain.keras"
    run(capsys, "strip", path, output)
    optimizer = keras.saving.load_model(output).optimizer
    inner = model.optimizer.inner_optimizer
    assert type(optimizer) is type(inner)
    assert len(optimizer.variables) == len(inner.variables)
    for ours, theirs in zip(optimizer.variables, inner.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours),
            keras.ops.convert_to_numpy(theirs),
        )


def test_strip_as_json(saved, tmp_path, capsys):
    _, path = saved
    output = tmp_path / "plain.keras"
    _, out, _ = run(capsys, "strip", path, output, "--json")
    record = strictly(out)
    assert [c["path"] for c in record["changes"]] == [
        "hidden/kernel",
        "last/kernel",
        "net",
    ]
    assert record["bytes_before"] == path.stat().st_size
    assert record["bytes_after"] == output.stat().st_size


def test_compact_gives_the_same_outputs_from_less(saved, tmp_path, capsys):
    model, path = saved
    output = tmp_path / "small.keras"
    status, out, err = run(capsys, "compact", path, output)
    assert (status, err) == (0, "")
    assert "16 -> 8" in out
    small = keras.saving.load_model(output)
    assert small.layers[0].units == 8
    np.testing.assert_allclose(
        small.predict(X, verbose=0),
        model.predict(X, verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


def test_compact_rounds(saved, tmp_path, capsys):
    _, path = saved
    output = tmp_path / "small.keras"
    run(capsys, "compact", path, output, "--round-to", 5)
    assert keras.saving.load_model(output).layers[0].units == 10


@keras.saving.register_keras_serializable("model_commands")
class Own(keras.Model):
    """A model that does not tell its inputs."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.hidden = keras.layers.Dense(6, "relu", name="hidden")
        self.last = keras.layers.Dense(2, name="last")

    def call(self, x):
        if isinstance(x, dict):
            x = x["a"] + x["b"]
        return self.last(self.hidden(x))


SAMPLES = {
    "sample.npy": lambda path: np.save(path, X[:3]),
    "one.npz": lambda path: np.savez(path, X[:3]),
    "named.npz": lambda path: np.savez(path, a=X[:2], b=X[1:3]),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_compact_takes_a_sample_from_a_file(name, tmp_path, capsys):
    SAMPLES[name](tmp_path / name)
    model = Own()
    model({"a": X, "b": X} if name == "named.npz" else X)
    model.hidden.kernel.assign(model.hidden.kernel * [1, 0, 1, 1, 0, 1])
    model.save(tmp_path / "own.keras")
    words = ("compact", tmp_path / "own.keras", tmp_path / "small.keras")
    status, out, err = run(capsys, *words, "--sample", tmp_path / name)
    assert (status, err) == (0, "")
    assert "own.keras" not in out
    keras.saving.load_model(tmp_path / "small.keras")


@pytest.mark.parametrize("name", ["text.npy", "none.npy"])
def test_a_sample_that_cannot_be_read_is_one_line(
    name, saved, tmp_path, capsys
):
    (tmp_path / "text.npy").write_text("no array")
    words = ("compact", saved[1], tmp_path / "small.keras")
    status, _, err = run(capsys, *words, "--sample", tmp_path / name)
    assert status == 1
    assert err.startswith(f"kreg: {tmp_path / name}: ")
    assert len(err.splitlines()) == 1


def test_compact_tells_which_inputs_are_left(tmp_path, capsys):
    model = network()
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel).copy()
    kernel[2:5] = 0.0
    model.layers[0].kernel.assign(kernel)
    model.save(tmp_path / "net.keras")
    words = ("compact", tmp_path / "net.keras", tmp_path / "small.keras")
    _, out, _ = run(capsys, *words, "--drop-inputs")
    assert "takes the features 0 1 5 6 7" in out
    _, out, _ = run(capsys, *words, "--drop-inputs", "--force", "--json")
    (kept,) = strictly(out)["kept_inputs"].values()
    assert kept == [0, 1, 5, 6, 7]


def test_export_chooses_the_format_by_the_end_of_the_path(
    saved, tmp_path, capsys
):
    _, path = saved
    output = tmp_path / "shipped.keras"
    status, out, err = run(
        capsys, "export", path, output, "--compact", "--json"
    )
    assert (status, err) == (0, "")
    record = strictly(out)
    assert record["format"] == "keras"
    assert record["bytes"] == output.stat().st_size
    assert keras.saving.load_model(output).layers[0].units == 8


@pytest.mark.tensorflow
def test_export_writes_a_saved_model(saved, tmp_path, capsys):
    import tensorflow as tf

    model, path = saved
    status, out, err = run(capsys, "export", path, tmp_path / "served")
    assert (status, err) == (0, "")
    assert "served: tf_saved_model" in out
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(
        served.serve(X), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_export_format_and_path_must_agree(saved, tmp_path, capsys):
    _, path = saved
    output = tmp_path / "net.onnx"
    status, _, err = run(capsys, "export", path, output, "--format", "keras")
    assert status == 2
    assert err == f"kreg: {output}: must end in .keras for keras\n"


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["net.tflit", "net.onx", "net.Keras"])
def test_slip_in_the_end_of_the_path_writes_no_saved_model(
    name, saved, tmp_path, capsys
):
    _, path = saved
    before = sorted(tmp_path.iterdir())
    status, out, err = run(capsys, "export", path, tmp_path / name)
    assert (status, out) == (2, "")
    assert "without the ending of a file" in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ("export", "", "served"),
        ("export", "net.keras", ""),
        ("report", "net.keras", ""),
        ("path", "net.py:build", "--data", ""),
        ("path", "net.py:build", "--data", "a.npz", "--directory", ""),
        ("path", "net.py:build", "--data", "a.npz", "--seed", "-1"),
    ],
)
def test_arguments_that_name_nothing_are_refused(words, capsys):
    with pytest.raises(SystemExit) as raised:
        run(capsys, *words)
    assert raised.value.code == 2


def test_missing_package_of_a_format_names_the_extra(
    saved, tmp_path, capsys, monkeypatch
):
    _, path = saved
    monkeypatch.setattr(
        "kreg.deployment.formats._installed", lambda module: False
    )
    status, _, err = run(capsys, "export", path, tmp_path / "net.onnx")
    assert status == 1
    assert err.startswith("kreg: ")
    assert "pip install" in err
    assert len(err.splitlines()) == 1


@pytest.mark.thorough
def test_report_of_one_model(saved, capsys):
    model, path = saved
    status, out, err = run(capsys, "report", path, "--runs", 1, "--json")
    assert (status, err) == (0, "")
    record = strictly(out)
    assert record["after"] is None
    assert record["before"]["parameters"] == model.count_params()


@pytest.mark.slow
def test_report_of_a_model_and_its_compacted_self(saved, capsys):
    _, path = saved
    words = ("report", path, "--compact", "--runs", 1, "--markdown")
    status, out, _ = run(capsys, *words)
    assert status == 0
    rows = {
        cells[1]: cells[2:4]
        for line in out.splitlines()
        if line.startswith("|")
        and (cells := [cell.strip() for cell in line.split("|")])
    }
    assert rows["parameters"] == ["195", "99"]


@pytest.mark.slow
def test_report_of_two_models(saved, tmp_path, capsys):
    _, path = saved
    run(capsys, "compact", path, tmp_path / "small.keras")
    words = ("report", path, tmp_path / "small.keras", "--runs", 1)
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    (row,) = [r for r in out.splitlines() if r.startswith("parameters ")]
    assert row.split()[1:3] == ["195", "99"]


def test_report_takes_one_comparison(saved, capsys):
    with pytest.raises(SystemExit) as raised:
        run(capsys, "report", saved[1], saved[1], "--compact")
    assert raised.value.code == 2


@pytest.mark.parametrize("command", ["strip", "compact"])
def test_output_must_be_a_keras_file(saved, tmp_path, capsys, command):
    with pytest.raises(SystemExit) as raised:
        run(capsys, command, saved[1], tmp_path / "net.h5")
    assert raised.value.code == 2
    assert "argument OUTPUT: must end in .keras" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--round-to", "0"], ["--round-to", "x"], ["--import"]]
)
def test_bad_words_are_a_usage_error(saved, tmp_path, words):
    with pytest.raises(SystemExit) as raised:
        main(["compact", str(saved[1]), str(tmp_path / "a.keras"), *words])
    assert raised.value.code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as raised:
        main([command, "--help"])
    assert raised.value.code == 0
    assert f"usage: kreg {command}" in capsys.readouterr().out


def test_help_lists_the_commands():
    assert {"inspect", "compact", "path", "demo"} <= set(COMMANDS)
