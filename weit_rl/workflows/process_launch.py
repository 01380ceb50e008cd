"""Run one command in several processes: start them, join them, explain how they ended."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weit_rl.common.cpu_cores import choose_threads, threads_per_process, user_chose_threads
from weit_rl.common.errors import Interrupted, PeerError, QuietExit, UserError
from weit_rl.common.home import expand_home
from weit_rl.common.process_start import STARTED_BY_COMMAND, process_count
from weit_rl.core.bank import TemplateBank
from weit_rl.options.image_training_options import LearningOptions
from weit_rl.training.loop import NotFinite
from weit_rl.training.process_group import SINGLE_PROCESS, ProcessGroup
from weit_rl.training.run_folder import CONFIG, default_folder
from weit_rl.workflows.resume_command import command_to_resume

if TYPE_CHECKING:
    from weit_rl.training.ddp_group import DDPGroup

LOST = 1  # exit code if another process ended
STOPS = (128 + signal.SIGINT, 128 + signal.SIGTERM)


@contextlib.contextmanager
def joined_group(cfg: LearningOptions) -> Iterator[ProcessGroup]:
    """Join the group of processes that train together; only the one that leads prints.

    Raises:
        Elsewhere: for an error in this process, if it does not lead.
        Interrupted: if another process ended.
    """
    if process_count() == 1:
        yield SINGLE_PROCESS
        return
    ranks = _kind(cfg)(cfg.device)
    try:
        with _silent(not ranks.leads):
            yield ranks
    except NotFinite:
        raise
    except UserError as error:
        if not ranks.leads:
            raise PeerError(f"process {ranks.rank} of {ranks.count}: {error}") from error
        raise
    except RuntimeError as error:
        if ranks.is_lost_process(error):
            raise Interrupted("another process of this run ended", LOST) from None
        raise


def _kind(cfg: LearningOptions) -> type[DDPGroup]:
    if cfg.trainer.strategy == "fsdp":
        from weit_rl.training.fsdp_group import FSDPGroup

        return FSDPGroup
    from weit_rl.training.ddp_group import DDPGroup

    return DDPGroup


@contextlib.contextmanager
def _silent(silent: bool) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if silent:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        yield


def start_processes(
    verb: str, words: list[str], cfg: LearningOptions, resume: str | None, result: str
) -> dict[str, Any]:
    """Run a command in new processes, by torch's elastic agent, on which torchrun is built, too.

    Args:
        verb: name of the command, such as "train".
        words: its options.
        cfg: the composed config of these options, or of the run to resume; it has the number of processes.
        resume: run folder to resume, or None.
        result: name of the file that a finished run has.

    Returns:
        The content of the run's result file.

    Raises:
        UserError: if Accelerate is missing, or there are fewer GPUs than processes.
        Interrupted: after a stop, or if a process was killed.
        Follows: for other errors, which the processes printed.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _check(cfg)
    path = expand_home(resume or cfg.run_dir or default_folder(verb, cfg, cfg.seed)).absolute()
    count = cfg.trainer.devices or 1
    how = LaunchConfig(
        1,
        1,
        count,
        run_id=STARTED_BY_COMMAND,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        local_addr="localhost",
    )
    place = [] if resume else [f"run_dir={path}"]
    try:
        with agent_environment(count, cfg.threads):
            elastic_launch(how, sys.executable)("-m", f"weit_rl.{verb}", *words, *place)
    except (SignalException, ChildFailedError) as error:
        hint = f"; go on with: {command_to_resume(verb, path, cfg)}"
        raise error_of_exits(error, count, hint if (path / CONFIG).exists() else "") from None
    found = path / result
    report = json.loads(found.read_text()) if found.suffix == ".json" else TemplateBank.load(found).card
    return report | {"run_dir": str(path)}


def _check(cfg: LearningOptions) -> None:
    import torch

    from weit_rl.training.ddp_group import check_gpus, check_library

    check_library()
    cpu = cfg.device == "cpu" or (cfg.device == "auto" and not torch.cuda.is_available())
    check_gpus(cfg.device, 0 if cpu else cfg.trainer.devices or 1)


def error_of_exits(error: Any, count: int, hint: str) -> BaseException:
    """Return the error to raise after a stop or a failure of processes.

    Args:
        error: error of torch's elastic agent.
        count: number of processes.
        hint: how to resume, or an empty text.

    Returns:
        Interrupted for a stop or a killed process, whose end also ends the others; Follows for anything else.
    """
    codes = {rank: failure.exitcode for rank, failure in getattr(error, "failures", {}).items()}
    for rank, code in codes.items():
        if code < 0 and 128 - code not in STOPS:  # the agent ends the remaining processes by SIGTERM
            name = signal.Signals(-code).name
            return Interrupted(f"process {rank} of {count} was ended by {name} and the others stopped{hint}", LOST)
    number = getattr(error, "sigval", 0) or next((code - 128 for code in codes.values() if code in STOPS), 0)
    if number:
        return Interrupted(f"stopped by {signal.Signals(number).name}{hint}", 128 + number)
    return QuietExit(2 if 2 in codes.values() else LOST)


@contextlib.contextmanager
def agent_environment(count: int, threads: int | None) -> Iterator[None]:
    """Set environment variables and signal handlers for the agent and its processes; restore them afterwards."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
    handlers = {number: signal.getsignal(number) for number in numbers}
    before, level = dict(os.environ), logging.root.manager.disable
    os.environ |= {
        STARTED_BY_COMMAND: "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }  # hides DDP's warning if every step uses all parameters
    if not user_chose_threads():
        choose_threads(threads or threads_per_process(count))
    logging.disable()  # the agent logs pages about a failure; a user gets one line
    try:
        yield
    finally:
        logging.disable(level)
        os.environ.clear()
        os.environ.update(before)
        with contextlib.suppress(ValueError):  # outside the main thread no handler was changed
            for number, handler in handlers.items():
                signal.signal(number, handler)
