"""Jobs of Slurm through submitit, with the option names of Hydra's submitit launcher.

Hydra's launcher needs ``@hydra.main``. This one also repeats lost jobs and yields results as jobs end.
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
from weit_rl.common.registry import unknown_name_error
from weit_rl.comparison.launchers.registry import LAUNCHERS, JobResults, Jobs, JobSettings, Launcher
from weit_rl.comparison.launchers.work import result_or_error, run_remotely

CLUSTERS, POLL = ("slurm", "local"), 0.5  # seconds between two polls; submitit itself asks Slurm less often
TIMEOUTS = 20  # number of times a job may continue in another one after its time limit


class Resumable:
    """A job that Slurm may stop and start again, and that continues from its run folder."""

    def __call__(self, *arguments: Any) -> Any:
        """Run a job."""
        return run_remotely(*arguments)

    def checkpoint(self, *arguments: Any) -> Any:
        """Return the job that submitit starts after a preemption or a time limit."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)

    __submitit_checkpoint__ = checkpoint  # its name in later versions of submitit


def run_on_slurm(
    jobs: Jobs,
    settings: JobSettings,
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
    setup: list[str] | None = None,
    additional_parameters: dict[str, Any] | None = None,
) -> JobResults:
    """Yield names and results in the order in which jobs end.

    Args:
        jobs: submitted in this order; jobs submitted at the same time form one array.
        settings: without a number of workers, all are submitted at once.
        cluster: ``slurm``, or ``local`` for processes of this machine.
        retries: number of times a job is submitted again if it ends without a result, as when its machine died.
        partition: Slurm's; so are account, qos and constraint.
        timeout_min: minutes per job; an unfinished one continues in another job.
        mem_gb: memory per job, GB.
        cpus_per_task: per job (default: its threads).
        gpus_per_node: per job.
        setup: lines of shell before a job, such as ``module load``.
        additional_parameters: further parameters of ``sbatch``.

    Raises:
        UserError: raised by a job, for a job that is lost too often, or without Slurm; other jobs are cancelled.
        RuntimeError: for a bug in a job; it names the job.
    """
    of_slurm: dict[str, Any] = {
        "partition": partition,
        "account": account,
        "qos": qos,
        "constraint": constraint,
        "setup": setup,
    }
    of_slurm |= {"additional_parameters": additional_parameters, "array_parallelism": settings.workers or len(jobs)}
    given: dict[str, Any] = {f"slurm_{name}": value for name, value in of_slurm.items()}
    given |= {"timeout_min": timeout_min, "mem_gb": mem_gb, "gpus_per_node": gpus_per_node, "name": "weit_rl"}
    given |= {"cpus_per_task": cpus_per_task or settings.threads}
    logs = {name: settings.log(name) for name in jobs}
    # A new folder that only this user can write, since submitit unpickles files from it.
    folder = Path(tempfile.mkdtemp(prefix="submitit-", dir=settings.logs.absolute()))
    executor = executor_of(cluster, folder, given)
    limit = settings.workers or (len(jobs) if cluster == "slurm" else usable_cores())
    waiting, running, lost = deque(jobs), dict[str, Any](), Counter[str]()
    try:
        while waiting or running:
            with sigint_restored(), executor.batch(allow_implicit_submissions=True):
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
def sigint_restored() -> Iterator[None]:
    """Let processes started inside receive SIGINT, by which submitit cancels them, even after a shell's ``&``."""
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
    """An error for a job that ended without a result."""


def next_done(running: dict[str, Any]) -> str:
    """Wait for a job to end, and return its name."""
    while True:
        for name, job in running.items():
            if job.done():
                return name
        time.sleep(POLL)


def result_of(job: Any, name: str, lost: int, retries: int) -> Any:
    """Return the result of a job."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return result_or_error(job.result())
    except FailedJobError as error:
        if "timed-out" in str(error):
            line = f"{name}: was not done after {TIMEOUTS} jobs"
            raise UserError(f"{line}; what is finished is kept, go on with a larger timeout_min") from error
        raise RuntimeError(f"{name} failed") from error
    except UncompletedJobError as error:
        if lost < retries:
            raise Lost from error
        line = f"{name}: was given up after {retries} retries ({job.paths.stderr} says more)"
        raise UserError(f"{line}; what is finished is kept, go on with the same command") from error


def executor_of(cluster: str, folder: Path, given: dict[str, Any]) -> Any:
    """Return submitit's executor of a cluster."""
    import submitit

    limits = {f"{name}_max_num_timeout": TIMEOUTS for name in CLUSTERS}
    executor = submitit.AutoExecutor(folder, cluster=cluster, **limits)
    executor.update_parameters(**{name: value for name, value in given.items() if value is not None})
    return executor


def check(cluster: str = "slurm", **_: Any) -> None:
    """Raise UserError if there is no such cluster."""
    if cluster not in CLUSTERS:
        raise unknown_name_error("cluster", cluster, list(CLUSTERS))
    if cluster == "slurm" and not shutil.which("sbatch"):
        raise UserError("launcher=submitit: there is no Slurm here (no sbatch); start it where jobs are submitted")


LAUNCHERS.add("submitit", Launcher(run_on_slurm, check, package="submitit", extra="slurm"))
