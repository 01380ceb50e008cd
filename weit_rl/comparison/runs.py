"""Training runs inside a comparison: started, continued, or only read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.options.command import compose
from weit_rl.storage.folder_lock import lock_folder
from weit_rl.training.run_folder import CONFIG
from weit_rl.workflows.pretrain_run import pretrain
from weit_rl.workflows.training import train

VERBS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "train": (train, "evaluation.json"),
    "pretrain": (pretrain, "bank.safetensors"),
}


def finish_run(verb: str, folder: Path, words: Sequence[str]) -> Path:
    """Return the result of a run, after making or continuing it if the result is missing.

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
        again = [word for word in words if word.startswith(("task=", "env=gym:"))]  # the user trusts their modules
        try:
            work(compose(verb, [*again, f"resume={folder}"] if started else [*words, f"run_dir={folder}"]))
        except UserError:
            if not (folder / result).exists():  # otherwise another process, believed dead, has just finished it
                raise
    return folder / result


def finish_training(folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """Return the report of a training run, see :func:`finish`."""
    return json.loads(finish_run("train", folder, words).read_text())
