"""Jobs in parallel processes, each with its output in a file of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from weit_rl.errors import Interrupted, UserError

Job = tuple[Callable[..., Any], tuple[Any, ...]]


def in_parallel(jobs: Mapping[str, Job], workers: int, logs: Path) -> Iterator[tuple[str, Any]]:
    """Names and results, in the order in which jobs end.

    Args:
        jobs: functions of a module and their arguments, by name, started in this order.
        workers: processes; 1 works in this one.
        logs: folder for ``<name>.txt``, what a job printed.

    Raises:
        UserError: what a job raised, or if a process was killed; the other jobs are stopped.
        Interrupted: likewise.
        RuntimeError: for a bug in a job, saying which.
    """
    logs.mkdir(parents=True, exist_ok=True)
    if workers == 1:
        for name, job in jobs.items():
            yield name, logged(job, logs / f"{name}.txt")
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would share torch's threads
    pool = ProcessPoolExecutor(workers, spawn, end_with_parent)
    try:
        futures = {pool.submit(logged, job, logs / f"{name}.txt"): name for name, job in jobs.items()}
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


def logged(job: Job, log: Path) -> Any:
    """Call a job with its output in a file; a stop ends a process of the pool, which would take the next job else."""
    function, arguments = job
    with log.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        try:
            return function(*arguments)
        except (Interrupted, KeyboardInterrupt):
            if multiprocessing.parent_process():
                os._exit(1)
            raise
        except UserError as error:
            raise UserError(f"{log.stem}: {error}") from None
        except Exception as error:
            raise RuntimeError(f"{log.stem} failed") from error
