"""Train networks on images with the same banks, scalers and initialisers, as a command and from Python.

    python -m weit_rl.vision data=digits model=vit size=small      # trains; also mode=pretrain, mode=evaluate run=RUN

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
GROUPS = ("size", "trainer")  # options that are mappings


def __getattr__(name: str) -> Any:
    if name != "PixelDiTPipeline":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from weit_rl.vision.load_pipeline import pipeline_class

    return pipeline_class()


def main(cfg: Options) -> dict[str, Any]:
    """Run the ``mode`` of a composed config; returns the numbers that it prints."""
    from weit_rl.vision.describe_sizes import describe as describe_
    from weit_rl.vision.modes import evaluate_images, export_run, sample
    from weit_rl.workflows.pretrain_run import pretrain as pretrain_
    from weit_rl.workflows.training import train as train_

    modes: dict[str, Any] = {"train": train_, "pretrain": pretrain_}
    modes |= {"evaluate": evaluate_images, "sample": sample, "export": export_run}
    modes |= {"describe": describe_}
    return modes[cfg["mode"]](cfg)


def train(**options: Any) -> dict[str, Any]:
    """Train a network.

    Args:
        options: options of ``weit_rl.vision mode=train``.

    Returns:
        The metrics on the test images, and ``run_dir``.

    Raises:
        UserError: for bad input, before anything is written.
    """
    return _run("train", options)


def pretrain(**options: Any) -> dict[str, Any]:
    """Pre-train a bank of templates.

    Args:
        options: options of ``weit_rl.vision mode=pretrain``.

    Returns:
        The bank's card, and ``run_dir``, the folder of ``bank.safetensors``.

    Raises:
        UserError: for bad input, before anything is written.
    """
    return _run("pretrain", options)


def evaluate(run: str | Path, **options: Any) -> dict[str, Any]:
    """Evaluate a finished run, and write pictures into its folder.

    Args:
        run: folder of the run.
        options: other options of ``weit_rl.vision mode=evaluate``.

    Returns:
        The metrics; those of a classifier have the confusion matrix, too.

    Raises:
        UserError: for bad input.
    """
    return _run("evaluate", {"run": str(run), **options})


def generate(run: str | Path, **options: Any) -> dict[str, Any]:
    """Sample images with a finished run of ``task="diffusion"``.

    Args:
        run: folder of the run.
        options: other options of ``weit_rl.vision mode=sample``, such as ``classes`` and ``guidance``.

    Returns:
        ``images`` ``(n, channels, height, width)`` uint8, ``labels`` ``(n,)``, and the ``path`` of their file.

    Raises:
        UserError: for bad input.
    """
    return _run("sample", {"run": str(run), **options})


def export(run: str | Path, out: str | Path, **options: Any) -> dict[str, Any]:
    """Write a finished run of ``task="diffusion"`` as a diffusers pipeline, see :class:`PixelDiTPipeline`.

    With ``task="classification"`` a classifier is written as a folder for timm:
    ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

    Args:
        run: folder of the run.
        out: a new folder. A pipeline has ``model_index.json``, ``transformer/`` and ``scheduler/``; a classifier has
            ``config.json`` and ``model.safetensors``.
        options: other options of ``weit_rl.vision mode=export``.

    Returns:
        The ``path`` of the folder.

    Raises:
        UserError: for bad input, before anything is written.
    """
    return _run("export", {"run": str(run), "out": str(out), **options})


def describe(**options: Any) -> dict[str, Any]:
    """Count what networks of some sizes cost, without making them.

    Args:
        options: options of ``weit_rl.vision mode=describe``, such as ``recipe="imagenet"``.

    Returns:
        ``sizes``, the numbers of each size by its name.

    Raises:
        UserError: for bad input.
    """
    return _run("describe", options)


def classify(run: str | Path, images: Tensor | np.ndarray | list[Any], checkpoint: str = "last") -> dict[str, Any]:
    """Classify images with a finished run.

    Args:
        run: folder of the run.
        images: ``(B, channels, height, width)``, uint8 or floats in [0, 1], of the shape that the run was trained on;
            or a list of paths or Pillow images, which are resized like those of a data set.
        checkpoint: ``"last"`` (default) or ``"best"``.

    Returns:
        ``classes``, a list of B names, and ``probabilities`` ``(B, number of classes)``, a tensor.

    Raises:
        UserError: if the run does not exist or is no classifier, or the images have another shape or range.
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
    """Convert a number of numpy or torch to one of Python."""
    return value.item()
