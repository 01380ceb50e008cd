"""Start and resume runs: what train and pretrain share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from weit_rl.common.errors import CannotWrite, Interrupted, UserError, interrupted_by
from weit_rl.common.home import expand_home
from weit_rl.common.process_start import process_count
from weit_rl.envs.registry import entry_of_file
from weit_rl.options.choices import check_numbers, check_trainer
from weit_rl.options.command import compose, config_name, words_of
from weit_rl.options.image_training_options import LearningOptions
from weit_rl.options.option_table import as_config, made, plain_config, with_added
from weit_rl.storage.atomic_write import cannot_write_error, is_disk_error, remove_unfinished
from weit_rl.storage.folder_lock import lock_folder
from weit_rl.storage.tensor_file import newest_whole_file, read_card, read_tensors
from weit_rl.tasks import task_entry_of
from weit_rl.training.device import set_up_torch
from weit_rl.training.follower_folder import FollowerFolder
from weit_rl.training.process_group import ProcessGroup
from weit_rl.training.run_folder import RunFolder, checked_config
from weit_rl.workflows.process_launch import LOST, joined_group, start_processes
from weit_rl.workflows.resume_command import as_list, command_to_resume
from weit_rl.workflows.run_setup import check_model

NAMED = ("data", "bank", "features")  # options where a word without a slash may be a name
PATHS = (*NAMED, "source", "autoencoder")


class ResumableRun(Protocol):
    """Work that can be stopped and resumed; its constructor reads and checks the config."""

    result: str
    """Name of the file in the run folder that only a finished run has."""
    stages: dict[str, int]
    """The global step at which each stage begins."""
    free_bytes: int
    """Disk space that the run needs, in bytes."""

    def __call__(self, folder: RunFolder, /) -> dict[str, Any]:
        """Do the work that is left."""
        ...


def _absolute(text: Any, named: bool) -> Any:
    """Make a path absolute, so that a run folder works from any directory; if ``named``, a bare word may be a name."""
    if not isinstance(text, str | None):
        return [_absolute(part, named) for part in text]
    path = os.path.expanduser(text or "")
    bare = named and os.sep not in path and "." not in path
    return text if bare or not path or not os.path.exists(path) else os.path.abspath(path)


def launch(verb: str, cfg: LearningOptions, make: Callable[[Any], ResumableRun], result: str) -> dict[str, Any]:
    """Make a run and its folder, or open them with ``cfg.resume``, and call the run.

    If ``cfg.trainer.devices`` asks for several processes, they are started first and the run works in them.

    Args:
        verb: name of the command, such as "train".
        cfg: its composed config.
        make: makes the run from a config.
        result: name of the file that only a finished run has.

    Returns:
        What the run returns; an empty mapping in processes that do not lead.

    Raises:
        UserError: for bad input, before anything is written.
        Interrupted: after a stop, with the command that resumes the run.
    """
    words = words_of(verb, cfg)
    task_entry_of(cfg).prepare(cfg)
    resume = cfg.resume
    if resume is not None:
        cfg = resumed_config(verb, cfg)
    check_numbers(cfg)
    check_model(cfg)
    check_trainer(cfg)
    if process_count() < (cfg.trainer.devices or 1):
        return start_processes(verb, words, cfg, resume, result)
    with joined_group(cfg) as devices:
        set_up_torch(cfg)
        for name in PATHS:
            if name in cfg:
                cfg[name] = _absolute(cfg[name], name in NAMED)
        run = devices.call_in_all(lambda: make(cfg))
        folder = _folder(verb, cfg, resume, run, devices)
        with resumable(folder, verb):
            return run(folder)


def _folder(verb: str, cfg: LearningOptions, resume: str | None, run: ResumableRun, devices: ProcessGroup) -> RunFolder:
    """Make or open the run's folder in the process that leads; the others only read it."""

    def made() -> RunFolder | None:
        if not devices.leads:
            return None
        if resume is None:
            return RunFolder.create(cfg.run_dir, verb, cfg, cfg.seed, run.free_bytes)
        return open_to_resume(expand_home(resume), run)

    folder = devices.call_in_all(made)
    path = devices.broadcast(str(folder.path.absolute()) if folder else "")
    folder = folder or FollowerFolder(Path(path))
    folder.devices = devices
    return folder


def resumed_config(verb: str, cfg: LearningOptions) -> Any:
    """Read the config of the run ``cfg.resume``; UserError for options that contradict it."""
    resume, task = str(cfg.resume), [f"task={cfg['task']}"] if "task" in cfg else []
    default, name = compose(verb, task), config_name(verb, task)
    stored: Any = as_config(with_added(plain_config(RunFolder.open(resume).config), name))
    task_entry_of(default).prepare(default)
    if set(stored) != set(default):
        raise UserError(f"resume={resume}: was not made by weit_rl.{verb}, or by another version of it")
    stored = made(name, plain_config(checked_config(stored, name, resume, whole=True)))
    for env in as_list(stored.get("env")):
        entry_of_file(env, resume, env if env in as_list(cfg.get("env")) else None)
    if process_count() > 1 or cfg.trainer != default["trainer"]:  # the number of processes may change
        stored["trainer"] = cfg.trainer
    other = sorted(key for key in cfg if key != "resume" and default[key] != cfg[key] != stored[key])
    if other:
        raise UserError(f"resume={resume}: goes on with its own options; leave out {', '.join(other)}")
    return stored


def open_to_resume(path: Path, run: ResumableRun) -> RunFolder:
    """Open and lock the folder of a run to resume; UserError if the run is finished or another process works at it."""
    lock = lock_folder(path)
    try:
        if (path / run.result).exists():
            raise UserError(f"resume={path}: that run is finished ({path / run.result} exists)")
        (path / "checkpoints").mkdir(exist_ok=True)
        remove_unfinished(path / "checkpoints")
        return RunFolder.open(path, last_step(path, run.stages), lock)
    except BaseException:
        lock.release()
        raise


def last_step(run_path: Path, stages: dict[str, int]) -> int:
    """Find the global step to resume from; ``stages`` has the first global step of each stage."""
    # Every file is read completely: a damaged one must be found before metrics.csv is cut at that step.
    folder = run_path / "checkpoints"
    found = {name: newest_whole_file(folder / f"{name}_state.safetensors") for name in stages}
    for path in set(folder.glob("*.safetensors")) - {folder / f"{name}_state.safetensors" for name in stages}:
        read_tensors(path)
    steps = [offset + read_card(state)["step"] for name, offset in stages.items() if (state := found[name])]
    return steps[-1] if steps else 0


class resumable:
    """A context that turns a stop, or a full disk, into one line with the command that resumes the run."""

    def __init__(self, run: RunFolder, verb: str):
        self.run, self.hint = run, f"go on with: {command_to_resume(verb, run.path, run.config)}"

    def __enter__(self) -> RunFolder:
        return self.run

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.run.close()
        if isinstance(error, Interrupted):
            raise Interrupted(f"{error}; {self.hint}", error.exit_code) from None
        if isinstance(error, KeyboardInterrupt | SystemExit):  # outside the loop, which catches signals
            raise interrupted_by(error, f"interrupted; {self.hint}") from None
        if self.run.devices.is_lost_process(error):
            raise Interrupted(f"another process of this run ended; {self.hint}", LOST) from None
        if is_disk_error(error):
            error = cannot_write_error(error.filename or self.run.path, error)
        if isinstance(error, CannotWrite):
            raise CannotWrite(f"{error}, then {self.hint}") from error
