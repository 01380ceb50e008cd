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
from weit_rl.comparison.launchers.registry import LAUNCHERS, Job, Jobs, Launcher, Place, Results
from weit_rl.comparison.launchers.work import worked


def in_parallel(jobs: Jobs, place: Place) -> Results:
    """Names and results, in the order in which jobs end.

    Args:
        jobs: started in this order.
        place: as many workers as there are usable cores for, if it does not say; 1 works in this process.

    Raises:
        UserError: what a job raised, or if a process was killed; the other jobs are stopped.
        Interrupted: likewise.
        RuntimeError: for a bug in a job, saying which.
    """
    workers = min(len(jobs), place.workers or max(1, usable_cores() // place.threads))
    if workers == 1:
        for name, job in jobs.items():
            yield name, worked(job, place.log(name))
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would share torch's threads
    pool = ProcessPoolExecutor(workers, spawn, end_with_parent)
    try:
        futures = {pool.submit(in_pool, job, place.log(name)): name for name, job in jobs.items()}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool as error:
                told = "a process was killed, perhaps for lack of memory; what is finished is kept"
                raise UserError(f"{told}, go on with the same command and fewer workers") from error
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def end_with_parent() -> None:
    """Let a process of the pool end when the one that started it is killed: its next one would meet it at work."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def in_pool(job: Job, log: Path) -> Any:
    """Work on a job; a stop ends this process, which would take the next job else."""
    try:
        return worked(job, log)
    except (Interrupted, KeyboardInterrupt):
        os._exit(1)


LAUNCHERS.add("local", Launcher(in_parallel))
