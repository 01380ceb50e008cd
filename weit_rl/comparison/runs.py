"""Runs inside a comparison: started, gone on with, or only read, whichever is left to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weit_rl.command import compose
from weit_rl.training.run_folder import CONFIG
from weit_rl.workflows.pretrain import pretrain
from weit_rl.workflows.train import train

VERBS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "train": (train, "evaluation.json"),
    "pretrain": (pretrain, "bank.safetensors"),
}


def finish(verb: str, folder: Path, words: Sequence[str]) -> Path:
    """The result of a run, which is made, or gone on with, where it is not there yet."""
    work, result = VERBS[verb]
    if not (folder / result).exists():
        begun = (folder / CONFIG).exists()
        if not begun:
            shutil.rmtree(folder, ignore_errors=True)  # stopped before it had a config
        task = [word for word in words if word.startswith("task=")]
        work(compose(verb, [*task, f"resume={folder}"] if begun else [*words, f"run_dir={folder}"]))
    return folder / result


def finish_training(folder: Path, words: Sequence[str]) -> dict[str, Any]:
    """What a training run says of itself."""
    return json.loads(finish("train", folder, words).read_text())
