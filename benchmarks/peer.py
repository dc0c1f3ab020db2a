"""Running the script of a peer in the peer's own environment."""

import json
import subprocess
import sys
from pathlib import Path


def results_of(python, script, job):
    """The results that a script prints, each a line of `result: ` and JSON.

    Args:
        python: the interpreter of the peer's environment.
        script: the name of a file of this folder.
        job: the job that the script reads from standard input, as JSON.
    """
    path = Path(__file__).parent / script
    done = subprocess.run(
        [python, path],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{python} {path} failed; run it by hand to see why")
    return [
        json.loads(line.removeprefix("result: "))
        for line in done.stdout.splitlines()
        if line.startswith("result: ")
    ]
