"""The runs that the tests of the page look at."""

import math

from tensorboard_tab.event_logs import EventLog, weight

PATHS = ["first/kernel", "second/kernel", "third/kernel"]
HOSTILE = "<img src=x onerror=alert(1)>/kernel"
STEPS = range(0, 100, 10)
NOTHING = "\u2013"
RUNS = {"strong/train": 2.0, "weak/train": 1.0}


def values_of(step, factor):
    """What is logged at a step: exact in single precision."""
    values = {
        "kreg/data_loss": 4.0 - step / 64,
        "kreg/penalty": factor * 0.5,
        "kreg/sparsity": factor * step / 256,
        "kreg_layer_sparsity/first": 0.5,
        "kreg_strength/first/kernel": factor * step / 1024,
        "kreg_strength/second/kernel/l1": factor * 0.25,
        "kreg_strength/second/kernel/l2": factor * 0.125,
        "kreg_update_ratio/first/kernel": math.nan,
        "kreg_update_ratio/second/kernel": 0.5,
        "kreg_l2_norm/first/kernel": math.nan if step == 50 else 8.0,
        "kreg_l2_norm/second/kernel": 2.0,
        "kreg_l2_norm/third/kernel": 0.0,
    }
    if step >= 20:
        values["kreg/penalty_share"] = 0.5
    for i, path in enumerate(PATHS):
        values[f"kreg_sparsity/{path}"] = factor * step * (3 - i) / 1024
    return values


def write_logs(folder):
    """Write the logs of all runs that the tests of the page look at."""
    for run, factor in RUNS.items():
        log = EventLog(folder, run)
        log.mark(
            [
                weight(PATHS[0], (64, 128), "L1"),
                weight(PATHS[1], (8, 4), "L1L2"),
                weight(PATHS[2], (4,), None),
            ]
        )
        for step in STEPS:
            log.scalars(step, values_of(step, factor))
        log.close()
    log = EventLog(folder, "hostile/train")
    log.mark([weight(HOSTILE, regularizer="<b>L1</b>")])
    log.scalars(0, {f"kreg_sparsity/{HOSTILE}": 0.5})
    log.close()
    log = EventLog(folder, "many/train")
    log.mark([weight(f"block_{i}/kernel") for i in range(60)])
    for step in STEPS:
        log.scalars(
            step,
            {f"kreg_sparsity/block_{i}/kernel": i / 64 for i in range(60)}
            | {"kreg_max_norm/block_7/kernel": 1.0},
        )
    log.close()
