"""Vision: the same banks, scalers and initialisers for images, as a command and from Python.

    python -m weit_rl.vision data=digits model=vit size=small      # trains; mode=pretrain, mode=evaluate run=RUN

    from weit_rl import vision
    report = vision.train(data="digits", model="vit", size="small")
    vision.classify(report["run_dir"], images)
    vision.generate(vision.train(task="diffusion")["run_dir"], classes=["3", "7"])
    vision.PixelDiTPipeline.from_run("runs/drawer").save_pretrained("drawer")    # for diffusers; mode=export

Every option of ``weit_rl.vision mode=MODE --help`` is a keyword argument; a group is a mapping, ``size={"width": 96}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weit_rl.options.option_fields import Options

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from weit_rl.vision.pipeline import PixelDiTPipeline

__all__ = ["PixelDiTPipeline", "classify", "describe", "evaluate", "export", "generate", "main", "pretrain", "train"]
GROUPS = ("size", "trainer")  # of options, as mappings


def __getattr__(name: str) -> Any:
    if name != "PixelDiTPipeline":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from weit_rl.vision.load_pipeline import pipeline_class

    return pipeline_class()


def main(cfg: Options) -> dict[str, Any]:
    """Run with a composed config, whose ``mode`` says what is done; returns the numbers it prints."""
    from weit_rl.vision.describe_sizes import describe as describe_
    from weit_rl.vision.modes import evaluate_images, export_run, sample
    from weit_rl.workflows.pretrain_run import pretrain as pretrain_
    from weit_rl.workflows.training import train as train_

    modes: dict[str, Any] = {"train": train_, "pretrain": pretrain_}
    modes |= {"evaluate": evaluate_images, "sample": sample, "export": export_run}
    modes |= {"describe": describe_}
    return modes[cfg["mode"]](cfg)


def train(**options: Any) -> dict[str, Any]:
    """Train a network; the metrics of the test images, and ``run_dir``.

    Args:
        options: of ``weit_rl.vision mode=train``.

    Raises:
        UserError: for bad input, before anything is written.
    """
    return _run("train", options)


def pretrain(**options: Any) -> dict[str, Any]:
    """Pre-train a bank of templates; its card, and ``run_dir``, where ``bank.safetensors`` lies.

    Args:
        options: of ``weit_rl.vision mode=pretrain``.

    Raises:
        UserError: for bad input, before anything is written.
    """
    return _run("pretrain", options)


def evaluate(run: str | Path, **options: Any) -> dict[str, Any]:
    """Score a finished run; the metrics, of a classifier with the confusion matrix. Pictures lie in its folder.

    Args:
        run: its folder.
        options: others of ``weit_rl.vision mode=evaluate``.

    Raises:
        UserError: for bad input.
    """
    return _run("evaluate", {"run": str(run), **options})


def generate(run: str | Path, **options: Any) -> dict[str, Any]:
    """Draw images with a finished run of ``task="diffusion"``.

    Args:
        run: its folder.
        options: others of ``weit_rl.vision mode=sample``, such as ``classes``, ``images`` of each, ``guidance``.

    Returns:
        ``images`` ``(n, channels, height, width)`` uint8, ``labels`` ``(n,)``, and ``path`` of the file they are in.

    Raises:
        UserError: for bad input.
    """
    return _run("sample", {"run": str(run), **options})


def export(run: str | Path, out: str | Path, **options: Any) -> dict[str, Any]:
    """Write a finished run of ``task="diffusion"`` as a pipeline of diffusers, see :class:`PixelDiTPipeline`.

    With ``task="classification"`` a classifier is written as a folder that timm reads:
    ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

    Args:
        run: its folder.
        out: a new folder, with ``model_index.json``, ``transformer/`` and ``scheduler/``, or with ``config.json`` and
            ``model.safetensors``.
        options: others of ``weit_rl.vision mode=export``.

    Raises:
        UserError: for bad input, before anything is written.
    """
    return _run("export", {"run": str(run), "out": str(out), **options})


def describe(**options: Any) -> dict[str, Any]:
    """What networks of some sizes cost, without making them; ``sizes``, by the name of each its numbers.

    Args:
        options: of ``weit_rl.vision mode=describe``, such as ``recipe="imagenet"``.

    Raises:
        UserError: for bad input.
    """
    return _run("describe", options)


def classify(run: str | Path, images: Tensor | np.ndarray | list[Any], checkpoint: str = "last") -> dict[str, Any]:
    """The classes of images, by a finished run.

    Args:
        run: its folder.
        images: ``(B, channels, height, width)``, bytes or floats in [0, 1], of the shape the run was trained on; or
            a list of paths or of Pillow's pictures, which are read as those of a set are.
        checkpoint: ``"last"`` (default) or ``"best"``.

    Returns:
        ``classes``, a list of B names, and ``probabilities``, a tensor ``(B, number of classes)``.

    Raises:
        UserError: if there is no such run, it is no classifier, or the images have another shape or range.
    """
    from weit_rl.vision.modes import classes_of

    return classes_of(Path(run), images, checkpoint)


def _run(mode: str, options: dict[str, Any]) -> dict[str, Any]:
    import json

    from weit_rl.options.command import compose

    words = [f"mode={mode}"]
    for key, value in options.items():
        if isinstance(value, dict) and key in GROUPS:
            words += [f"{key}.{inner}={json.dumps(one, default=_number)}" for inner, one in value.items()]
        else:
            words.append(f"{key}={value if isinstance(value, str | Path) else json.dumps(value, default=_number)}")
    return main(compose("vision", words))


def _number(value: Any) -> Any:
    """numpy's and torch's numbers as Python's."""
    return value.item()
