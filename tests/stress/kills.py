"""Kill commands by SIGKILL, at random moments or at every write to a file, resume them, and compare how they end.

    OMP_NUM_THREADS=1 python tests/stress/kills.py --kills 50 --writes > tests/stress/kills.md

Weights and metrics of training, pre-training and comparison must equal those of a run that nobody killed, bit for bit.
``collect`` starts its simulators anew, so only its finished files must stay the same. The exit code is 1 if a run ends
differently.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from weit_rl.benchmark import main as benchmark
from weit_rl.collect import main as collect
from weit_rl.comparison.runs import finish_run
from weit_rl.comparison.tables import Table
from weit_rl.data.formats.d4rl import ARRAYS
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.storage import atomic_write as atomic

TINY = ["env=Reacher", "batch_size=4", "context=5", "threads=1", "episodes=2"]
TRAIN = [*TINY, "size=96x3", "validation_episodes=2"]
BANK = [*TINY, "size=64x2", "widths=[32, 64]", "depths=[1, 2]", "score_sizes=[32x1]", "rank=4"]
COMPARED = [*TINY[:2], "threads=1", "episodes=1", "methods=[weit, scratch]", "sizes=[32x1]", "seeds=[0]", "workers=1"]
POLICY = "{learning_starts: 50, policy_kwargs: {net_arch: [8]}, buffer_size: 2000, batch_size: 16}"
COLLECTED = [
    "env=Reacher", "steps=400", "n_envs=2", "snapshot_every=100", f"hyperparameters={POLICY}",
    "levels.expert=3", "levels.medium=2", "levels.random=2", "selection_episodes=1", "evaluation_episodes=1",
]  # fmt: skip

NOTE = (
    "`python tests/stress/kills.py --kills 50 --writes`: Reacher; networks of 32 x 1 to 96 x 3, 20 to 150 steps. "
    "Moments are uniform over the length of a run; a run may be killed several times."
)


class Work(NamedTuple):
    """A command under test.

    Attributes:
        go_on: starts or resumes the command in a folder.
        outcome: returns what must be in the folder at the end, by file.
    """

    go_on: Callable[[Path], object]
    outcome: Callable[[Path], dict[str, object]]


def works(data: Path, bank: Path) -> dict[str, Work]:
    """Return the commands by name."""
    source, start = f"data={data}", [f"data={data}", f"bank={bank}"]
    pretrain = [*BANK, source, "steps=130"]  # a state is written every 100
    scaler = [*TRAIN, *start, "scaler_steps=130", "train_steps=0"]
    train = [*TRAIN, *start, "scaler_steps=20", "train_steps=130", "evaluate_every=60"]
    compared = [*COMPARED, source, "pretrain_steps=6", "budgets=[0, 60]"]
    return {
        "pretrain": Work(lambda run: finish_run("pretrain", run, compose("pretrain", pretrain)), outcome),
        "train, scaler stage": Work(lambda run: finish_run("train", run, compose("train", scaler)), outcome),
        "train": Work(lambda run: finish_run("train", run, compose("train", train)), outcome),
        "benchmark": Work(lambda run: benchmark(compose("benchmark", [*compared, f"run_dir={run}"])), outcome),
        "collect": Work(lambda run: collect(compose("collect", [*COLLECTED, f"run_dir={run}"])), recorded),
    }


def short_works(data: Path, bank: Path) -> dict[str, Work]:
    """Return commands of few steps, which write as often as long ones."""
    pretrain = [*BANK, f"data={data}", "steps=20"]
    train = [*TRAIN, f"data={data}", f"bank={bank}", "scaler_steps=20", "train_steps=20", "evaluate_every=10"]
    return {
        "pretrain": Work(lambda run: finish_run("pretrain", run, compose("pretrain", pretrain)), outcome),
        "train": Work(lambda run: finish_run("train", run, compose("train", train)), outcome),
    }


def outcome(run: Path) -> dict[str, object]:
    """Return the end of a run by file, without times."""
    found: dict[str, object] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.suffix == ".safetensors" and not path.stem.endswith("_state"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name in ("metrics.csv", "results.csv"):
            with path.open(newline="") as file:
                rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
            found[name] = [row for row in rows if row.get("name") != "time/seconds"]
        elif path.name == "evaluation.json":
            found[name] = {k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}
        elif atomic.is_unfinished(path) and path.parent.name == "checkpoints":
            found[name] = "left behind"
    return found


def recorded(run: Path) -> dict[str, object]:
    """Return the finished files of a run of ``collect``: snapshots and recorded levels."""
    files = [*run.glob("behaviour/snapshot_*"), *run.glob("data/*[a-z]/data/*")]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
            if ".part" not in str(path)}  # fmt: skip


def begin(work: Callable[[], object], log: Path) -> int:
    """Start work in a fork of this process, which has imported everything; return its process id."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            work()
            code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def finished(pid: int, log: Path) -> bool:
    """Wait for a process; return False if it was killed. A process that fails by itself ends the script."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status):
        sys.exit(f"a run failed by itself:\n{log.read_text()[-3000:]}")
    return True


def killed_at_random(work: Work, kills: int, folder: Path, rng: random.Random) -> list[int]:
    """Kill a command at random moments; return the numbers of kills, of runs, and of runs that ended differently."""
    log, began = folder / "log.txt", time.monotonic()
    assert finished(begin(lambda: work.go_on(folder / "whole"), log), log)
    seconds, expected = time.monotonic() - began, work.outcome(folder / "whole")
    done = runs = wrong = 0
    while done < kills:
        run, kept, runs = folder / f"run{runs}", dict[str, object](), runs + 1
        while True:
            pid, moment = begin(lambda run=run: work.go_on(run), log), rng.uniform(0, seconds)
            if done < kills:
                time.sleep(moment)
                os.kill(pid, signal.SIGKILL)
            if finished(pid, log):
                break
            done += 1
            kept |= work.outcome(run) if work.outcome is recorded else {}
        end = work.outcome(run)
        same = kept.items() <= end.items() and end.keys() == expected.keys()
        wrong += not (same if work.outcome is recorded else end == expected)
    return [done, runs, wrong]


def killed_at_writes(work: Work, folder: Path, every: int) -> list[int]:
    """Kill a command at each of its writes in turn; return the numbers of kills, of runs, and of different ends."""
    log = folder / "log.txt"
    assert finished(begin(lambda: work.go_on(folder / "whole"), log), log)
    expected, kills, wrong = work.outcome(folder / "whole"), 0, 0
    for number in range(0, 10_000, every):
        run = folder / f"write{number}"
        if finished(begin(lambda run=run, number=number: dying(number, lambda: work.go_on(run)), log), log):
            break
        kills += 1
        assert finished(begin(lambda run=run: work.go_on(run), log), log)
        wrong += work.outcome(run) != expected
    return [kills, kills, wrong]


def dying(number: int, work: Callable[[], object]) -> None:
    """Work until call ``number`` of ``os.fsync`` or ``os.replace``, which make a write last, and die there."""
    calls = iter(range(10**9))

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*words: object) -> object:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words)

        return call

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)  # type: ignore[assignment]
    work()


def prepare(folder: Path) -> tuple[Path, Path]:
    """Make data of random actions and a bank from them."""
    env, rows = env_entry("Reacher").make(), []
    env.action_space.seed(0)
    for seed in range(6):
        observation, _ = env.reset(seed=seed)
        for step in range(50):
            action = env.action_space.sample()
            after, reward, *_ = env.step(action)
            rows.append((observation, action, reward, False, step == 49))
            observation = after
    with h5py.File(folder / "data.hdf5", "w") as file:
        for name, column in zip(ARRAYS, zip(*rows, strict=True), strict=True):
            file[name] = np.asarray(column)
    words = [*BANK, f"data={folder / 'data.hdf5'}", "steps=20"]
    pid = begin(lambda: finish_run("pretrain", folder / "bank", compose("pretrain", words)), folder / "log.txt")
    assert finished(pid, folder / "log.txt")
    return folder / "data.hdf5", folder / "bank" / "bank.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--writes", action="store_true", help="kill at every write as well")
    parser.add_argument("--only", nargs="*", help="names of commands")
    parser.add_argument("--every", type=int, default=1, help="kill at every n-th write only")
    arguments = parser.parse_args()
    rng, rows = random.Random(0), []
    with tempfile.TemporaryDirectory(prefix="kills") as temporary:
        folder = Path(temporary)
        inputs = prepare(folder)
        chosen = {name: work for name, work in works(*inputs).items() if name in (arguments.only or works(*inputs))}
        for number, (name, work) in enumerate(chosen.items()):
            share = arguments.kills * (number + 1) // len(chosen) - arguments.kills * number // len(chosen)
            (folder / name).mkdir()
            rows.append([name, "moments", *killed_at_random(work, share, folder / name, rng)])
        for name, work in short_works(*inputs).items() if arguments.writes else ():
            (folder / f"{name} writes").mkdir()
            rows.append([name, "writes", *killed_at_writes(work, folder / f"{name} writes", arguments.every)])
    header = ["command", "killed at", "kills", "runs", "different ends"]
    print(Table("Commands killed and resumed", header, [list(map(str, row)) for row in rows], NOTE).markdown())
    sys.exit(any(row[-1] for row in rows))


if __name__ == "__main__":
    main()
