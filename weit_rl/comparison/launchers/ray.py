"""Jobs as tasks of a Ray cluster, which repeats a task if its worker or machine dies."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.output import print_error
from weit_rl.comparison.launchers.registry import LAUNCHERS, JobResults, Jobs, JobSettings, Launcher
from weit_rl.comparison.launchers.work import result_or_error, run_remotely


def run_on_ray(
    jobs: Jobs,
    settings: JobSettings,
    address: str | None = None,
    retries: int = 3,
    cpus: int | float | None = None,
    gpus: int | float = 0,
) -> JobResults:
    """Yield names and results in the order in which jobs end.

    Args:
        jobs: started in this order.
        settings: without a number of workers, as many jobs run at a time as the cluster has room for.
        address: of the cluster, HOST:PORT; None (default) uses ``RAY_ADDRESS``, or the cluster of this machine, or
            starts Ray here.
        retries: number of times a job is repeated if its worker dies.
        cpus: per job (default: its threads).
        gpus: per job; with 0 it sees none.

    Raises:
        UserError: raised by a job, for a job whose workers died too often, or if there is no such cluster; the other
            jobs are stopped.
        RuntimeError: for a bug in a job; it names the job.
    """
    ray = connected(address)
    needs = {"num_cpus": settings.threads if cpus is None else cpus, "num_gpus": gpus}
    warn_if_too_small(ray.nodes(), {"CPU": needs["num_cpus"], "GPU": gpus})
    task = ray.remote(**needs, max_retries=retries)(run_remotely)
    waiting, running = deque(jobs), dict[Any, str]()
    try:
        while waiting or running:
            while waiting and len(running) < (settings.workers or len(jobs)):
                name = waiting.popleft()
                running[task.remote(jobs[name], settings.log(name), Path.cwd())] = name
            (done, *_), _ = ray.wait(list(running))
            name = running.pop(done)
            yield name, result_of(ray, done, name, retries)
    finally:
        for left in running:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(left, force=True)


def result_of(ray: Any, done: Any, name: str, retries: int) -> Any:
    """Return the result of a task."""
    try:
        return result_or_error(ray.get(done))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ImportError):
            line = f"{name}: a machine of the cluster lacks something ({error.cause})"
            raise UserError(f"{line}; install weit_rl, of this version, on all of them") from None
        raise RuntimeError(f"{name} failed") from error
    except ray.exceptions.RayError as error:
        reason = str(error).partition("\n")[0]
        line = f"{name}: was given up after {retries} retries ({type(error).__name__}: {reason[:200]})"
        raise UserError(f"{line}; what is finished is kept, go on with the same command") from error


def connected(address: str | None) -> Any:
    """Return Ray, connected to a cluster until this process ends."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1"
    )  # without it, Ray warns about tasks that see no GPU
    with sigterm_kept():
        import ray

        if not ray.is_initialized():
            check_reachable(address)
            try:
                ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = str(error).partition("\n")[0]
                raise UserError(f"launcher=ray: no cluster at {address or 'RAY_ADDRESS'} ({reason})") from error
    return ray


def check_reachable(address: str | None) -> None:
    """Raise UserError for a cluster that does not answer; Ray itself tries for minutes."""
    if address is None or address in ("local", "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"launcher=ray: no cluster answers at {address} ({error}); give HOST:PORT of one") from error


@contextlib.contextmanager
def sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM afterwards: Ray replaces it by one with another exit code."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def warn_if_too_small(nodes: list[dict[str, Any]], needs: dict[str, float]) -> None:
    """Warn of a job that no machine is large enough for; it waits until one joins the cluster."""
    for kind, least in needs.items():
        most = max((node["Resources"].get(kind, 0) for node in nodes if node["Alive"]), default=0)
        if most < least:
            line = f"a job takes {least:g} {kind}s, and no machine of the cluster has more than {most:g}"
            print_error(f"launcher=ray: {line}; it waits for one")


def check(address: str | None = None, **_: Any) -> None:
    """Raise UserError if there is no such cluster."""
    connected(address)


LAUNCHERS.add("ray", Launcher(run_on_ray, check, package="ray", extra="ray"))
