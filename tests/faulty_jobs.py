"""Jobs for tests/test_launchers.py, which other processes import by this name."""

import os
import signal
import time
from pathlib import Path

from weit_rl.common.errors import UserError


def double(x):
    print(f"doubling {x}", flush=True)
    return 2 * x


def dies_once(mark, number):
    """Kill the process of the first call, as a machine that dies does; the second call works."""
    if not first(mark):
        return number
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def preempted_once(mark, number):
    """Send this process what Slurm sends before it takes a machine away, the first time."""
    if first(mark):
        os.kill(os.getpid(), signal.SIGUSR2)
    return number


def always_dies():
    os.kill(os.getpid(), signal.SIGKILL)


def refuses():
    raise UserError("thirteen")


def has_a_bug():
    return 1 / 0


def first(mark):
    """Return True at the first call with this mark."""
    was = Path(mark).exists()
    Path(mark).write_text(str(os.getpid()))
    return not was


def sleeps(mark):
    Path(mark).write_text(str(os.getpid()))
    time.sleep(300)


def ends_when_another_is_at_work(mark):
    while not (Path(mark).exists() and Path(mark).read_text()):
        time.sleep(0.05)
    return int(Path(mark).read_text())
