"""Training runs inside a comparison: started, continued, or only read."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from weit_rl.common.errors import UserError
from weit_rl.options.image_training_options import LearningOptions, TrainingOptions
from weit_rl.options.option_values import usual_options
from weit_rl.options.pretrain_options import PretrainOptions
from weit_rl.options.train_options import TrainOptions
from weit_rl.storage.folder_lock import lock_folder
from weit_rl.training.run_folder import CONFIG
from weit_rl.workflows.pretrain_run import pretrain
from weit_rl.workflows.training import train

Verb = Literal["train", "pretrain"]
VERBS: dict[Verb, tuple[Callable[[Any], Any], str]] = {
    "train": (train, "evaluation.json"),
    "pretrain": (pretrain, "bank.safetensors"),
}


def finish_run(verb: Verb, folder: Path, options: LearningOptions) -> Path:
    """Return the result of a run, after making or continuing it if the result is missing.

    Args:
        verb: "train" or "pretrain".
        folder: of the run.
        options: of the run; they stay as they are.

    Raises:
        Occupied: if another process works in the folder.
        UserError: raised by the run.
    """
    work, result = VERBS[verb]
    if not (folder / result).exists():
        started = (folder / CONFIG).exists()
        if not started and folder.exists():  # stopped before its config was written
            lock_folder(folder).release()  # raises if the process is only believed dead
            shutil.rmtree(folder, ignore_errors=True)
        resumed, fresh = options_to_resume(verb, options), copy.deepcopy(options)
        try:
            work(replace(resumed, resume=str(folder)) if started else replace(fresh, run_dir=str(folder)))
        except UserError:
            if not (folder / result).exists():  # otherwise another process, believed dead, has just finished it
                raise
    return folder / result


def options_to_resume(verb: Verb, options: LearningOptions) -> LearningOptions:
    """Return options that differ from the usual ones only in the task, and in an environment whose module is imported.

    A run that is continued has its own options; the module of its environment is one that the user trusts.
    """
    usual = usual_options(verb, options.get("task"))
    env = options.get("env")
    if isinstance(usual, TrainOptions | PretrainOptions) and isinstance(env, str) and env.startswith("gym:"):
        return replace(usual, env=env)
    return usual


def finish_training(folder: Path, options: TrainingOptions) -> dict[str, Any]:
    """Return the report of a training run, see :func:`finish_run`."""
    report: dict[str, Any] = json.loads(finish_run("train", folder, options).read_text())
    return report
