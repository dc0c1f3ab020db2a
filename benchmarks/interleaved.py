"""Timing variants in turn, so that the machine's load affects all alike."""

import time

import numpy as np
from rich.progress import track


def in_turn(functions, rounds, calls, title):
    """Seconds of one call of each function, in every round.

    Args:
        functions: dict from a name to a function without arguments that does
            its work `calls` times.
        rounds: how often each function is timed.
        calls: how often a function does its work; times are divided by it.
        title: the text beside the progress bar.

    Returns:
        A dict from each name to an array of `rounds` times.
    """
    for function in functions.values():
        for _ in range(3):
            function()
    times = {name: np.empty(rounds) for name in functions}
    for i in track(range(rounds), title):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name][i] = (time.perf_counter() - start) / calls
    return times


def interval(values):
    """The median, and its 95 % interval from order statistics."""
    values = np.sort(values)
    n = len(values)
    spread = 0.98 * np.sqrt(n)
    low = int(max(0, np.floor(n / 2 - spread)))
    high = int(min(n - 1, np.ceil(n / 2 + spread)))
    return np.median(values), values[low], values[high]
