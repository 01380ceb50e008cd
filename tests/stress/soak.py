"""Watch memory, file handles and threads while a bank is pre-trained and a policy is evaluated for hours.

    OMP_NUM_THREADS=1 python tests/stress/soak.py > tests/stress/soak.md

``--steps 500 --episodes 20`` checks the script in minutes. The exit code is 1 if memory or file handles grow from the
second quarter to the last; the first quarter does not count, since it allocates what the run keeps.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from weit_rl.agents.evaluation import episode_returns
from weit_rl.common.seeds import TEST_SEED
from weit_rl.comparison.tables import Table
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.pretrain import main as pretrain
from weit_rl.training.checkpoint import load_network
from weit_rl.workflows.training import train

GROWTH = 0.02  # share of memory that counts as noise
TOGETHER = 10  # episodes played side by side


class Sample(NamedTuple):
    """Memory in MB, file handles and threads of a process at one moment."""

    megabytes: float
    handles: int
    threads: int


def sample() -> Sample:
    """Measure this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    handles = len(list(Path("/proc/self/fd").iterdir()))
    return Sample(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, handles, len(list(Path("/proc/self/task").iterdir())))


class Watch:
    """A thread that samples this process every second while a block of code runs."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._over, self._began = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._began

    def _watch(self) -> None:
        while not self._over.wait(1):
            self.samples.append(sample())

    def quarter(self, number: int) -> Sample:
        """Return the medians of a quarter of the samples."""
        size = max(1, len(self.samples) // 4)
        part = self.samples[number * size : (number + 1) * size] or self.samples[-1:]
        return Sample(median(s.megabytes for s in part), *(int(median(s[i] for s in part)) for i in (1, 2)))


def measured(what: str, work: Callable[[], None]) -> tuple[list[str], bool]:
    """Run a job; return its row of the table, and True if memory or file handles grew."""
    with Watch() as watch, contextlib.redirect_stdout(sys.stderr):
        work()
    before, after = watch.quarter(1), watch.quarter(3)
    numbers = [f"{one:.0f}, {other:.0f}" for one, other in zip(before, after, strict=True)]
    grew = after.megabytes > before.megabytes * (1 + GROWTH) or after.handles > before.handles
    return [what, f"{watch.seconds:.0f}", *numbers], grew


def evaluations(run: Path, episodes: int) -> Callable[[], None]:
    """Return a job that plays episodes of a run's policy, ten at a time, each in environments of its own."""
    net, card = load_network(run / "checkpoints" / "last.safetensors")

    def work() -> None:
        for first in range(0, episodes, TOGETHER):
            episode_returns(net, env_entry(card["env"]), min(TOGETHER, episodes - first), TEST_SEED + first)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--episodes", type=int, default=1_000)
    parser.add_argument("--size", default="128x3", help="of the bank; the default of pre-training is 128x6")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak") as temporary:
        folder = Path(temporary)
        width, depth = map(int, arguments.size.split("x"))
        words = [f"size={width}x{depth}", f"widths=[{width // 2}, {width}]", f"depths=[1, {depth}]"]
        words += [f"steps={arguments.steps}", "score_sizes=[]", "threads=1"]
        policy = ["size=small", "scaler_steps=0", "train_steps=0", "episodes=1", "validation_episodes=0"]
        with contextlib.redirect_stdout(sys.stderr):
            train(compose("train", [*policy, f"run_dir={folder / 'policy'}"]))
        jobs = {
            f"{arguments.steps:,} steps of pre-training": lambda: pretrain(
                compose("pretrain", [*words, f"run_dir={folder / 'bank'}"])
            ),
            f"{arguments.episodes:,} episodes": evaluations(folder / "policy", arguments.episodes),
        }
        rows = [measured(what, work) for what, work in jobs.items()]
    header = ["work", "seconds", "MB", "file handles", "threads"]
    note = f"`python tests/stress/soak.py {' '.join(sys.argv[1:])}`: medians of the second and of the last quarter, "
    note += "of samples once a second."
    print(Table("A long run", header, [row for row, _ in rows], note).markdown())
    sys.exit(any(grew for _, grew in rows))


if __name__ == "__main__":
    main()
