"""One run in several processes: starting them, joining them, and what their ends mean."""

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

from weit_rl.common.cpu_cores import choose_threads, threads_of, users_threads
from weit_rl.common.errors import Elsewhere, Follows, Interrupted, UserError
from weit_rl.common.home import expanded
from weit_rl.common.process_start import OWN, processes
from weit_rl.core.bank import TemplateBank
from weit_rl.options.image_training_options import LearningOptions
from weit_rl.training.loop import NotFinite
from weit_rl.training.process_group import ALONE, Devices
from weit_rl.training.run_folder import CONFIG, default_folder
from weit_rl.workflows.resume_command import command_to_resume

if TYPE_CHECKING:
    from weit_rl.training.ddp_group import Ranks

LOST = 1  # exit code where another process ended
STOPS = (128 + signal.SIGINT, 128 + signal.SIGTERM)


@contextlib.contextmanager
def joined(cfg: LearningOptions) -> Iterator[Devices]:
    """The processes that share this one's work, as long as they do; those that do not lead print nothing.

    Raises:
        Elsewhere: for what is wrong in this process alone.
        Interrupted: where another one ended.
    """
    if processes() == 1:
        yield ALONE
        return
    ranks = _kind(cfg)(cfg.device)
    try:
        with _silent(not ranks.leads):
            yield ranks
    except NotFinite:
        raise
    except UserError as error:
        if not ranks.leads:
            raise Elsewhere(f"process {ranks.rank} of {ranks.count}: {error}") from error
        raise
    except RuntimeError as error:
        if ranks.lost(error):
            raise Interrupted("another process of this run ended", LOST) from None
        raise


def _kind(cfg: LearningOptions) -> type[Ranks]:
    if cfg.trainer.strategy == "fsdp":
        from weit_rl.training.fsdp_group import Parts

        return Parts
    from weit_rl.training.ddp_group import Ranks

    return Ranks


@contextlib.contextmanager
def _silent(silent: bool) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if silent:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        yield


def start(verb: str, words: list[str], cfg: LearningOptions, resume: str | None, result: str) -> dict[str, Any]:
    """Run a command in processes of its own, by torch's elastic agent, which is what torchrun is, too.

    Args:
        verb: of the command.
        words: its options.
        cfg: the config that these are, or that of the run they go on with; it says how many processes there are.
        resume: run folder to go on with.
        result: the file that a finished run has.

    Returns:
        What the run's result file holds.

    Raises:
        UserError: if the library is missing, or there are fewer GPUs.
        Interrupted: after a stop, or where a process was killed.
        Follows: for other ends, of which the processes told.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _check(cfg)
    path = expanded(resume or cfg.run_dir or default_folder(verb, cfg, cfg.seed)).absolute()
    count = cfg.trainer.devices or 1
    how = LaunchConfig(1, 1, count, run_id=OWN, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
                       local_addr="localhost")  # fmt: skip
    place = [] if resume else [f"run_dir={path}"]
    try:
        with _surroundings(count, cfg.threads):
            elastic_launch(how, sys.executable)("-m", f"weit_rl.{verb}", *words, *place)
    except (SignalException, ChildFailedError) as error:
        hint = f"; go on with: {command_to_resume(verb, path, cfg)}"
        raise _meaning(error, count, hint if (path / CONFIG).exists() else "") from None
    found = path / result
    report = json.loads(found.read_text()) if found.suffix == ".json" else TemplateBank.load(found).card
    return report | {"run_dir": str(path)}


def _check(cfg: LearningOptions) -> None:
    import torch

    from weit_rl.training.ddp_group import check_gpus, check_library

    check_library()
    cpu = cfg.device == "cpu" or (cfg.device == "auto" and not torch.cuda.is_available())
    check_gpus(cfg.device, 0 if cpu else cfg.trainer.devices or 1)


def _meaning(error: Any, count: int, hint: str) -> BaseException:
    """What to raise for a stop, or for processes that failed: one that was killed is the cause of the others' end."""
    codes = {rank: failure.exitcode for rank, failure in getattr(error, "failures", {}).items()}
    for rank, code in codes.items():
        if code < 0 and 128 - code not in STOPS:  # by SIGTERM the agent ends those that are left, which say so then
            name = signal.Signals(-code).name
            return Interrupted(f"process {rank} of {count} was ended by {name} and the others stopped{hint}", LOST)
    number = getattr(error, "sigval", 0) or next((code - 128 for code in codes.values() if code in STOPS), 0)
    if number:
        return Interrupted(f"stopped by {signal.Signals(number).name}{hint}", 128 + number)
    return Follows(2 if 2 in codes.values() else LOST)


@contextlib.contextmanager
def _surroundings(count: int, threads: int | None) -> Iterator[None]:
    """Environment and signal handlers as the processes and their agent need them, and afterwards as they were."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
    handlers = {number: signal.getsignal(number) for number in numbers}
    before, level = dict(os.environ), logging.root.manager.disable
    os.environ |= {OWN: "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}  # DDP warns where no step leaves parameters out
    if not users_threads():
        choose_threads(threads or threads_of(count))
    logging.disable()  # of failures the agent says pages; here they are one line
    try:
        yield
    finally:
        logging.disable(level)
        os.environ.clear()
        os.environ.update(before)
        with contextlib.suppress(ValueError):  # in another thread than the main one, where none was changed either
            for number, handler in handlers.items():
                signal.signal(number, handler)
