"""Runs inside a comparison: started, gone on with, or only read, whichever is left to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.options.command import compose
from weit_rl.storage.folder_lock import locked
from weit_rl.training.run_folder import CONFIG
from weit_rl.workflows.pretrain_run import pretrain
from weit_rl.workflows.training import train

VERBS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "train": (train, "evaluation.json"),
    "pretrain": (pretrain, "bank.safetensors"),
}


def finish(verb: str, folder: Path, words: Sequence[str]) -> Path:
    """The result of a run, which is made, or gone on with, where it is not there yet.

    Raises:
        Occupied: if another process is at work in the folder.
        UserError: what the run raises.
    """
    work, result = VERBS[verb]
    if not (folder / result).exists():
        begun = (folder / CONFIG).exists()
        if not begun and folder.exists():  # stopped before it had a config
            locked(folder).release()  # or only given up as dead
            shutil.rmtree(folder, ignore_errors=True)
        again = [word for word in words if word.startswith(("task=", "env=gym:"))]  # whose module is trusted
        try:
            work(compose(verb, [*again, f"resume={folder}"] if begun else [*words, f"run_dir={folder}"]))
        except UserError:
            if not (folder / result).exists():  # else a process that was given up as dead has finished it just now
                raise
    return folder / result


def finish_training(folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """What a training run says of itself."""
    return json.loads(finish("train", folder, words).read_text())
