"""The run of one job in its process, on this machine or another."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weit_rl.common.errors import Interrupted, UserError
from weit_rl.comparison.launchers.registry import Job
from weit_rl.storage.folder_lock import FolderLocked

PATIENCE = 600.0  # seconds; file servers release a dead machine's locks after a minute or two


@dataclass(frozen=True)
class RemoteError:
    """A UserError on its way back from another machine.

    Attributes:
        line: its text.
    """

    line: str


def run_job(job: Job, log: Path) -> Any:
    """Call a job with its output in a file.

    Raises:
        UserError: raised by the job; its name is added.
        RuntimeError: for a bug in the job; it names the job.
    """
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        try:
            return wait_for_lock(job)
        except UserError as error:
            raise UserError(f"{log.stem}: {error}") from None
        except Exception as error:
            if isinstance(error, Interrupted):
                raise
            raise RuntimeError(f"{log.stem} failed") from error


def wait_for_lock(job: Job) -> Any:
    """Run a job as soon as no other process, perhaps given up as dead, holds its run folder."""
    (function, arguments), deadline = job, time.monotonic() + PATIENCE
    while True:
        try:
            return function(*arguments)
        except FolderLocked:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def run_remotely(job: Job, log: Path, folder: Path) -> Any:
    """Run a job as :func:`run_job` does, on any machine, in the folder in which the command was started.

    An interrupt concerns this process, not the job: it ends the process, so that another one gets the job.
    """
    try:
        os.chdir(folder)  # for relative paths in options
        return run_job(job, log)
    except UserError as error:
        return RemoteError(str(error))
    except FileNotFoundError as error:
        where = f"{socket.gethostname()}: there is no {error.filename}"
        return RemoteError(f"{where}; all machines must see run_dir and the folder that the command is started in")
    except Interrupted as stop:
        os._exit(stop.exit_code)
    except KeyboardInterrupt:
        os._exit(130)
    except SystemExit as stop:
        os._exit(stop.code if isinstance(stop.code, int) else 1)


def result_or_error(result: Any) -> Any:
    """Return the result of a job, or raise the UserError that it raised."""
    if isinstance(result, RemoteError):
        raise UserError(result.line)
    return result
