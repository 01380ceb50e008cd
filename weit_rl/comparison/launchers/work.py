"""One job in the process that works on it, here or on another machine."""

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
from weit_rl.storage.folder_lock import Occupied

PATIENCE = 600.0  # seconds: file servers let go of a dead machine's locks after a minute or two


@dataclass(frozen=True)
class Refused:
    """A UserError on its way back from another machine.

    Attributes:
        line: what it says.
    """

    line: str


def worked(job: Job, log: Path) -> Any:
    """Call a job with its output in a file.

    Raises:
        UserError: what the job raised, with its name.
        RuntimeError: for a bug in the job, saying which.
    """
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        try:
            return patiently(job)
        except UserError as error:
            raise UserError(f"{log.stem}: {error}") from None
        except Exception as error:
            if isinstance(error, Interrupted):
                raise
            raise RuntimeError(f"{log.stem} failed") from error


def patiently(job: Job) -> Any:
    """Wait where another one holds the job's run folder, given up as dead: it dies, or finishes the job."""
    (function, arguments), deadline = job, time.monotonic() + PATIENCE
    while True:
        try:
            return function(*arguments)
        except Occupied:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def worked_elsewhere(job: Job, log: Path, folder: Path) -> Any:
    """:func:`worked` on a machine that may be any other, in the folder that the command was started in.

    A stop of this process says nothing of the job: it ends the process, so that the job is given to another one.
    """
    try:
        os.chdir(folder)  # for paths in options
        return worked(job, log)
    except UserError as error:
        return Refused(str(error))
    except FileNotFoundError as error:
        where = f"{socket.gethostname()}: there is no {error.filename}"
        return Refused(f"{where}; all machines must see run_dir and the folder that the command is started in")
    except Interrupted as stop:
        os._exit(stop.exit_code)
    except KeyboardInterrupt:
        os._exit(130)
    except SystemExit as stop:
        os._exit(stop.code if isinstance(stop.code, int) else 1)


def received(result: Any) -> Any:
    """What a job gave, or the UserError that it raised."""
    if isinstance(result, Refused):
        raise UserError(result.line)
    return result
