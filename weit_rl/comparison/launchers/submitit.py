"""Jobs of Slurm, through submitit, which Hydra's launcher for Slurm wraps; options are called as that one's.

Hydra's launcher itself works under ``@hydra.main`` alone, which the commands here do without.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weit_rl.common.cpu_cores import usable_cores
from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown
from weit_rl.comparison.launchers.registry import LAUNCHERS, Jobs, Launcher, Place, Results
from weit_rl.comparison.launchers.work import received, worked_elsewhere

CLUSTERS, POLL = ("slurm", "local"), 0.5  # seconds between two looks; submitit itself asks Slurm more rarely
TIMEOUTS = 20  # how often a job may go on in another one when its time is over


class Resumable:
    """A job that Slurm may stop and start again: it goes on from its run folder."""

    def __call__(self, *arguments: Any) -> Any:
        """Work on a job."""
        return worked_elsewhere(*arguments)

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit starts after a preemption, or a time limit."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)

    __submitit_checkpoint__ = checkpoint  # its name in later versions


def on_slurm(
    jobs: Jobs,
    place: Place,
    cluster: str = "slurm",
    retries: int = 3,
    partition: str | None = None,
    account: str | None = None,
    qos: str | None = None,
    constraint: str | None = None,
    timeout_min: int = 240,
    mem_gb: int | float | None = None,
    cpus_per_task: int | None = None,
    gpus_per_node: int | None = None,
    setup: list | None = None,
    additional_parameters: dict | None = None,
) -> Results:
    """Names and results, in the order in which jobs end.

    Args:
        jobs: submitted in this order, those that are submitted at once as one array.
        place: without a number of workers, all are submitted at once.
        cluster: ``slurm``, or ``local`` for processes of this machine.
        retries: how often a job is submitted again that ended without a result, as when its machine died.
        partition: as Slurm's; so are account, qos and constraint.
        timeout_min: minutes of a job; one that is not done by then goes on in another job.
        mem_gb: memory of a job, GB.
        cpus_per_task: of a job (default: its threads).
        gpus_per_node: of a job.
        setup: lines of shell before a job, such as ``module load``.
        additional_parameters: further ones of ``sbatch``.

    Raises:
        UserError: what a job raised, for a job that is lost too often, or without Slurm; other jobs are cancelled.
        RuntimeError: for a bug in a job, saying which.
    """
    of_slurm: dict[str, Any] = {
        "partition": partition,
        "account": account,
        "qos": qos,
        "constraint": constraint,
        "setup": setup,
    }
    of_slurm |= {"additional_parameters": additional_parameters, "array_parallelism": place.workers or len(jobs)}
    given: dict[str, Any] = {f"slurm_{name}": value for name, value in of_slurm.items()}
    given |= {"timeout_min": timeout_min, "mem_gb": mem_gb, "gpus_per_node": gpus_per_node, "name": "weit_rl"}
    given |= {"cpus_per_task": cpus_per_task or place.threads}
    logs = {name: place.log(name) for name in jobs}
    # New, for this user alone, and removed: what submitit reads back from there are pickles.
    folder = Path(tempfile.mkdtemp(prefix="submitit-", dir=place.logs.absolute()))
    executor = executor_of(cluster, folder, given)
    limit = place.workers or (len(jobs) if cluster == "slurm" else usable_cores())
    waiting, running, lost = deque(jobs), dict[str, Any](), Counter[str]()
    try:
        while waiting or running:
            with heard(), executor.batch(allow_implicit_submissions=True):
                while waiting and len(running) < limit:
                    name = waiting.popleft()
                    running[name] = executor.submit(Resumable(), jobs[name], logs[name], Path.cwd())
            name = next_done(running)
            try:
                yield name, result_of(running.pop(name), name, lost[name], retries)
            except Lost:
                lost[name] += 1
                waiting.append(name)
    finally:
        for job in running.values():
            job.cancel(check=False)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Processes begun inside hear SIGINT, by which submitit cancels them, where a shell's ``&`` had it ignored, too."""
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class Lost(Exception):
    """A job that ended without a result."""


def next_done(running: dict[str, Any]) -> str:
    """The name of a job that has ended."""
    while True:
        for name, job in running.items():
            if job.done():
                return name
        time.sleep(POLL)


def result_of(job: Any, name: str, lost: int, retries: int) -> Any:
    """What a job gave."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return received(job.result())
    except FailedJobError as error:
        if "timed-out" in str(error):
            told = f"{name}: was not done after {TIMEOUTS} jobs"
            raise UserError(f"{told}; what is finished is kept, go on with a larger timeout_min") from error
        raise RuntimeError(f"{name} failed") from error
    except UncompletedJobError as error:
        if lost < retries:
            raise Lost from error
        told = f"{name}: was given up after {retries} retries ({job.paths.stderr} says more)"
        raise UserError(f"{told}; what is finished is kept, go on with the same command") from error


def executor_of(cluster: str, folder: Path, given: dict[str, Any]) -> Any:
    """Submitit's executor of a cluster."""
    import submitit

    limits = {f"{name}_max_num_timeout": TIMEOUTS for name in CLUSTERS}
    executor = submitit.AutoExecutor(folder, cluster=cluster, **limits)
    executor.update_parameters(**{name: value for name, value in given.items() if value is not None})
    return executor


def check(cluster: str = "slurm", **_: Any) -> None:
    """UserError where there is no such cluster."""
    if cluster not in CLUSTERS:
        raise unknown("cluster", cluster, list(CLUSTERS))
    if cluster == "slurm" and not shutil.which("sbatch"):
        raise UserError("launcher=submitit: there is no Slurm here (no sbatch); start it where jobs are submitted")


LAUNCHERS.add("submitit", Launcher(on_slurm, check, package="submitit", extra="slurm"))
