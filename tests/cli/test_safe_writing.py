"""No file is lost or half written, whatever happens."""

import errno
import os
import signal
import subprocess
import time
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from cli.saved_files import files_in, network, process, run, trained

WRITING = {
    "strip": ("strip", "new.keras"),
    "compact": ("compact", "new.keras"),
    "export": ("export", "new.keras"),
    "saved model": ("export", "new"),
}
everywhere = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[pytest.mark.tensorflow] if name == "saved model" else [],
        )
        for name in WRITING
    ],
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.keras"
    trained().save(path)
    return path.read_bytes()


@pytest.fixture
def folder(saved, tmp_path):
    """A folder with `net.keras` in it, and nothing else."""
    (tmp_path / "net.keras").write_bytes(saved)
    return tmp_path


def words_of(name, folder):
    command, output = WRITING[name]
    return command, folder / "net.keras", folder / output


@everywhere
def test_what_exists_stays_without_force(name, folder, capsys):
    words = words_of(name, folder)
    words[-1].write_text("precious")
    status, out, err = run(capsys, *words)
    assert (status, out) == (1, "")
    assert err == f"kreg: {words[-1]}: exists; --force replaces it\n"
    assert words[-1].read_text() == "precious"


@everywhere
def test_force_replaces(name, folder, capsys):
    words = words_of(name, folder)
    assert run(capsys, *words)[0] == 0
    first = files_in(folder)
    assert run(capsys, *words, "--force")[0] == 0
    assert files_in(folder).keys() == first.keys()


@pytest.mark.parametrize("command", ["strip", "compact", "export"])
def test_output_may_be_the_model_itself(command, folder, capsys):
    path = folder / "net.keras"
    x = np.ones((2, 8), "float32")
    before = keras.saving.load_model(path).predict(x, verbose=0)
    assert run(capsys, command, path, path)[0] == 1
    assert run(capsys, command, path, path, "--force")[0] == 0
    after = keras.saving.load_model(path)
    assert after.layers[0].kernel_regularizer is None
    np.testing.assert_allclose(
        after.predict(x, verbose=0), before, rtol=1e-5, atol=1e-6
    )
    assert list(files_in(folder)) == ["net.keras"]


def test_a_link_stays_a_link(folder, capsys):
    (folder / "there").mkdir()
    link = folder / "link.keras"
    link.symlink_to(folder / "there" / "real.keras")
    assert run(capsys, "strip", folder / "net.keras", link)[0] == 1
    assert run(capsys, "strip", folder / "net.keras", link, "--force")[0] == 0
    assert link.is_symlink()
    assert keras.saving.load_model(folder / "there" / "real.keras").built


@everywhere
def test_directory_that_is_not_there(name, folder, capsys):
    command, model, output = words_of(name, folder)
    output = folder / "absent" / output.name
    status, _, err = run(capsys, command, model, output)
    assert status == 1
    assert err == (f"kreg: {output}: there is no directory {output.parent}\n")


@pytest.fixture
def unwritable():
    """A path at which even root can create nothing."""
    folder = f"/proc/{os.getpid()}"
    if not os.path.isdir(folder):
        pytest.skip("a directory of Linux")
    return folder


@everywhere
def test_directory_that_cannot_be_written_in(name, folder, capsys, unwritable):
    command, model, output = words_of(name, folder)
    output = f"{unwritable}/{output.name}"
    status, out, err = run(capsys, command, model, output)
    assert (status, out) == (1, "")
    assert err == f"kreg: {output}: cannot write in {unwritable}\n"


@everywhere
def test_directory_that_turns_out_to_be_unwritable(
    name, folder, capsys, unwritable, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    command, model, output = words_of(name, folder)
    output = f"{unwritable}/{output.name}"
    status, out, err = run(capsys, command, model, output)
    assert (status, out) == (1, "")
    assert err.startswith(f"kreg: {output}: cannot be written: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["strip", "compact", "export"])
def test_a_directory_is_not_replaced_by_a_file(name, folder, capsys):
    words = words_of(name, folder)
    words[-1].mkdir()
    (words[-1] / "precious").write_text("kept")
    status, _, err = run(capsys, *words, "--force")
    assert status == 1
    assert "is not a file" in err
    assert (words[-1] / "precious").read_text() == "kept"


@pytest.mark.tensorflow
def test_a_saved_model_replaces_nothing_else(folder, capsys):
    words = words_of("saved model", folder)
    words[-1].mkdir()
    (words[-1] / "precious").write_text("kept")
    status, _, err = run(capsys, *words, "--force")
    assert status == 1
    assert "is not a SavedModel" in err
    assert (words[-1] / "precious").read_text() == "kept"


@pytest.mark.tensorflow
def test_a_saved_model_around_the_model_stays(folder, capsys):
    inside = folder / "served" / "net.keras"
    inside.parent.mkdir()
    (folder / "net.keras").rename(inside)
    (folder / "served" / "saved_model.pb").touch()
    status, _, err = run(capsys, "export", inside, inside.parent, "--force")
    assert status == 1
    assert "so it must stay" in err
    assert inside.exists()


@everywhere
def test_what_appears_meanwhile_stays(name, folder, capsys, monkeypatch):
    words = words_of(name, folder)

    def appear(write):
        def written(*arguments, **settings):
            words[-1].write_text("precious")
            return write(*arguments, **settings)

        return written

    for method in ("save", "export"):
        monkeypatch.setattr(
            keras.Model, method, appear(getattr(keras.Model, method))
        )
    status, _, err = run(capsys, *words)
    assert status == 1
    assert err == f"kreg: {words[-1]}: exists; --force replaces it\n"
    assert words[-1].read_text() == "precious"


@contextmanager
def full_disk(room):
    """Limit files to `room` bytes, which looks like a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@everywhere
@pytest.mark.parametrize("room", [500, 20_000])
def test_full_disk(name, room, tmp_path, capsys):
    network(width=2000).save(tmp_path / "net.keras")
    words = words_of(name, tmp_path)
    before = files_in(tmp_path)
    with full_disk(room):
        status, out, err = run(capsys, *words)
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1, err
    assert os.strerror(errno.EFBIG) in err
    assert files_in(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 1


def test_full_disk_leaves_what_was_there(tmp_path, capsys):
    path = tmp_path / "net.keras"
    network(width=2000).save(path)
    before = files_in(tmp_path)
    with full_disk(20_000):
        assert run(capsys, "strip", path, path, "--force")[0] == 1
    assert files_in(tmp_path) == before


def test_ctrl_c(folder, capsys, monkeypatch):
    def save(model, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    before = files_in(folder)
    monkeypatch.setattr(keras.Model, "save", save)
    status, out, err = run(capsys, *words_of("strip", folder))
    assert (status, out, err) == (130, "", "")
    assert files_in(folder) == before


SLOW_TO_SAVE = """
import pathlib, time, keras

def save(model, path):
    path.write_bytes(b"half")
    pathlib.Path("saving").touch()
    time.sleep(60)

keras.Model.save = save
"""


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_it_without_traces(folder, number, status):
    (folder / "slow_to_save.py").write_text(SLOW_TO_SAVE)
    before = files_in(folder)
    words = ("strip", "net.keras", "new.keras", "--import", "slow_to_save")
    running = subprocess.Popen(
        process(*words),
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    while not (folder / "saving").exists():
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.05)
    running.send_signal(number)
    _, err = running.communicate()
    assert running.returncode == status
    assert "Traceback" not in err
    (folder / "saving").unlink()
    assert files_in(folder) == before
    assert not (folder / "new.keras").exists()


@pytest.mark.slow
def test_a_closed_pipe_is_quiet(folder):
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        process("inspect", folder / "net.keras"),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert result.returncode == 141
    for word in ("kreg:", "Traceback", "Exception", "BrokenPipe"):
        assert word not in result.stderr


@pytest.mark.slow
def test_standard_output_on_a_full_disk(folder):
    if not os.path.exists("/dev/full"):
        pytest.skip("a device of Linux")
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            process("inspect", folder / "net.keras", "--json"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "kreg: cannot write on standard output: No space left on device"
    )
    assert "Traceback" not in result.stderr
