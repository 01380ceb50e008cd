"""Jobs as tasks of a Ray cluster, which gives those to another worker whose worker or machine died."""

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
from weit_rl.common.output import complain
from weit_rl.comparison.launchers.registry import LAUNCHERS, Jobs, Launcher, Place, Results
from weit_rl.comparison.launchers.work import received, worked_elsewhere


def on_ray(
    jobs: Jobs,
    place: Place,
    address: str | None = None,
    retries: int = 3,
    cpus: int | float | None = None,
    gpus: int | float = 0,
) -> Results:
    """Names and results, in the order in which jobs end.

    Args:
        jobs: started in this order.
        place: without a number of workers, as many at a time as the cluster has room for.
        address: of the cluster, HOST:PORT; None (default) takes that of ``RAY_ADDRESS``, or the one that this machine
            is in, or starts Ray here.
        retries: how often a job is given to another worker when its own one died.
        cpus: of a job (default: its threads).
        gpus: of a job; without one it sees none.

    Raises:
        UserError: what a job raised, for a job whose workers died too often, or if there is no such cluster; the
            other jobs are stopped.
        RuntimeError: for a bug in a job, saying which.
    """
    ray = connected(address)
    needs = {"num_cpus": place.threads if cpus is None else cpus, "num_gpus": gpus}
    say_if_too_small(ray.nodes(), {"CPU": needs["num_cpus"], "GPU": gpus})
    task = ray.remote(**needs, max_retries=retries)(worked_elsewhere)
    waiting, running = deque(jobs), dict[Any, str]()
    try:
        while waiting or running:
            while waiting and len(running) < (place.workers or len(jobs)):
                name = waiting.popleft()
                running[task.remote(jobs[name], place.log(name), Path.cwd())] = name
            (done, *_), _ = ray.wait(list(running))
            name = running.pop(done)
            yield name, result_of(ray, done, name, retries)
    finally:
        for left in running:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(left, force=True)


def result_of(ray: Any, done: Any, name: str, retries: int) -> Any:
    """What a task gave."""
    try:
        return received(ray.get(done))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ImportError):
            told = f"{name}: a machine of the cluster lacks something ({error.cause})"
            raise UserError(f"{told}; install weit_rl, of this version, on all of them") from None
        raise RuntimeError(f"{name} failed") from error
    except ray.exceptions.RayError as error:
        reason = str(error).partition("\n")[0]
        told = f"{name}: was given up after {retries} retries ({type(error).__name__}: {reason[:200]})"
        raise UserError(f"{told}; what is finished is kept, go on with the same command") from error


def connected(address: str | None) -> Any:
    """Ray, connected to a cluster until this process ends."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a task without a GPU sees none; Ray would warn
    with handlers_kept():
        import ray

        if not ray.is_initialized():
            reach(address)
            try:
                ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = str(error).partition("\n")[0]
                raise UserError(f"launcher=ray: no cluster at {address or 'RAY_ADDRESS'} ({reason})") from error
    return ray


def reach(address: str | None) -> None:
    """UserError for a cluster that does not answer: Ray itself tries for minutes."""
    if address is None or address in ("local", "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"launcher=ray: no cluster answers at {address} ({error}); give HOST:PORT of one") from error


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Ray puts a handler of its own over that of SIGTERM, with another exit code."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say_if_too_small(nodes: list[dict[str, Any]], needs: dict[str, float]) -> None:
    """Tell of a job that no machine is large enough for: one may join, but nothing happens until then."""
    for kind, least in needs.items():
        most = max((node["Resources"].get(kind, 0) for node in nodes if node["Alive"]), default=0)
        if most < least:
            told = f"a job takes {least:g} {kind}s, and no machine of the cluster has more than {most:g}"
            complain(f"launcher=ray: {told}; it waits for one")


def check(address: str | None = None, **_: Any) -> None:
    """UserError where there is no such cluster."""
    connected(address)


LAUNCHERS.add("ray", Launcher(on_ray, check, package="ray", extra="ray"))
