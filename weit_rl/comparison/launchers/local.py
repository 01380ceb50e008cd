"""Jobs in parallel processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from weit_rl.common.cpu_cores import usable_cores
from weit_rl.common.errors import Interrupted, UserError
from weit_rl.comparison.launchers.registry import LAUNCHERS, Job, JobResults, Jobs, JobSettings, Launcher
from weit_rl.comparison.launchers.work import run_job


def run_in_processes(jobs: Jobs, settings: JobSettings) -> JobResults:
    """Yield names and results in the order in which jobs end.

    Args:
        jobs: started in this order.
        settings: without a number of workers, there are as many as the usable cores allow; 1 runs jobs in this process.

    Raises:
        UserError: raised by a job, or if a process was killed; the other jobs are stopped.
        Interrupted: in the same way.
        RuntimeError: for a bug in a job; it names the job.
    """
    workers = min(len(jobs), settings.workers or max(1, usable_cores() // settings.threads))
    if workers == 1:
        for name, job in jobs.items():
            yield name, run_job(job, settings.log(name))
        return
    spawn = multiprocessing.get_context("spawn")  # a forked process would share torch's threads
    pool = ProcessPoolExecutor(workers, spawn, end_with_parent)
    try:
        futures = {pool.submit(in_pool, job, settings.log(name)): name for name, job in jobs.items()}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool as error:
                line = "a process was killed, perhaps for lack of memory; what is finished is kept"
                raise UserError(f"{line}, go on with the same command and fewer workers") from error
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def end_with_parent() -> None:
    """End this process when the one that started it is killed; otherwise a restarted command would meet it at work."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def in_pool(job: Job, log: Path) -> Any:
    """Run a job; an interrupt ends this process, which would otherwise take the next job."""
    try:
        return run_job(job, log)
    except (Interrupted, KeyboardInterrupt):
        os._exit(1)


LAUNCHERS.add("local", Launcher(run_in_processes))
