"""TensorBoard with the tab: in this process, and as a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from argparse import Namespace

from tensorboard.backend import application
from tensorboard.backend.event_processing.data_provider import (
    MultiplexerDataProvider,
)
from tensorboard.backend.event_processing.plugin_event_multiplexer import (
    EventMultiplexer,
)
from werkzeug.test import Client

from kreg_tensorboard import KregPlugin


def client(log_dir):
    """A client of TensorBoard's application, with the tab alone in it."""
    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 1000})
    multiplexer.AddRunsFromDirectory(str(log_dir))
    multiplexer.Reload()
    flags = Namespace(
        logdir=str(log_dir),
        path_prefix="",
        samples_per_plugin={},
        window_title="",
    )
    return Client(
        application.TensorBoardWSGIApp(
            flags,
            [KregPlugin],
            MultiplexerDataProvider(multiplexer, str(log_dir)),
        )
    )


@contextlib.contextmanager
def serve(log_dir, python_path=None):
    """The address of a TensorBoard that reads `log_dir` every second."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = dict(os.environ)
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tensorboard.main"),
            *("--logdir", str(log_dir), "--port", str(port)),
            *("--reload_interval", "1"),
        ],
        cwd=log_dir,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://localhost:{port}"
        wait_until(lambda: _answers(process, address), seconds=90)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def wait_until(true, seconds=30):
    """Wait for a condition, and fail where it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.2)


def _answers(process, address):
    assert process.poll() is None, "TensorBoard did not start"
    with contextlib.suppress(OSError):
        url = f"{address}/data/plugins_listing"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status == 200
    return False
