"""Open finished runs on images: their networks, classes and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.data.images import Images
from weit_rl.data.images.parts import ImagesInMemory
from weit_rl.options.image_run_options import SampleOptions
from weit_rl.options.image_training_options import ImageTrainOptions
from weit_rl.options.option_table import made, plain_config
from weit_rl.tasks import task_entry_of
from weit_rl.tasks.diffusion import Diffusion
from weit_rl.tasks.image_options import image_task
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder, checked_config

SAMPLING = {name: name for name in ("features", "samples", "scheduler", "guidance")} | {"sampling_steps": "steps"}


def diffusion_run(path: str | Path) -> RunFolder:
    """Open a run of ``task=diffusion``; UserError for another task."""
    run = RunFolder.open(path)
    if checked_config(run.config, "vision_train", path).get("task") != "diffusion":
        raise UserError(
            f"run={path}: is not of task=diffusion, so it cannot sample; give one that is (a classifier is exported by "
            f"python -m weit_rl.export run={path}, or with mode=export task=classification as a folder for timm)"
        )
    return run


def labels_of(wanted: Sequence[str | int] | None, classes: list[str]) -> list[int]:
    """Return the numbers of classes given by name or number; None means all."""
    if wanted is None:
        return list(range(len(classes)))
    if not len(wanted):
        raise UserError(f"classes: none is named; name some of {', '.join(classes)}")
    for name in map(str, wanted):
        if name not in classes and not (name.isdecimal() and int(name) < len(classes)):
            raise unknown_name_error("class", name, classes)
    return [classes.index(str(name)) if str(name) in classes else int(name) for name in wanted]


def network_of(run: RunFolder, checkpoint: str, device: str) -> tuple[nn.Module, dict[str, Any]]:
    """Load a run's network on a device, and its card."""
    net, card = load_network(run.existing_checkpoint(checkpoint))
    if "classes" not in card:
        raise UserError(f"run={run.path}: has no classes; evaluate it with python -m weit_rl.evaluate run={run.path}")
    return net.to(device), card


def task_of(run: RunFolder, card: dict[str, Any], cfg: Mapping[str, Any]) -> Any:
    """Make the task of a run, on its own images or on those of ``cfg.data``."""
    changes = {"data": cfg["data"] or run.config.data, "device": cfg["device"]}
    if cfg["data"] is not None:
        changes |= card.get("pixels") or {name: card["options"][name] for name in ("image_size", "channels")}
        changes["data_images"] = None  # that option is of the run's own images
    changes |= {name: cfg[own] for name, own in SAMPLING.items() if own in cfg}
    config = plain_config(checked_config(run.config, "vision_train", run.path))
    task = task_entry_of(run.config).make(run_options(config | changes))
    if list(task.images.classes) != card["classes"]:
        have, known = (", ".join(names) for names in (task.images.classes, card["classes"]))
        raise UserError(
            f"data={cfg['data']}: has the classes {have}, the run has {known}; give images of the same ones"
        )
    return task


def drawing_task(run: RunFolder, card: dict[str, Any], cfg: SampleOptions) -> Diffusion:
    """Make the diffusion task of a run without images; sampling needs only their shape and classes."""
    shape, none = card.get("pixels") or card["options"], np.zeros(0, np.int64)
    part = ImagesInMemory(np.zeros((0, shape["channels"], shape["image_size"], shape["image_size"]), np.uint8), none)
    images = Images(card["data"], tuple(card["classes"]), part, part, part, licence="")
    config = plain_config(checked_config(run.config, "vision_train", run.path))
    changes: dict[str, Any] = {"device": cfg.device, "data_images": None, "features": None}
    changes |= {"sampling_steps": cfg.steps, "scheduler": cfg.scheduler}
    task: Diffusion = image_task(run_options(config | changes), task="diffusion", images=images)
    return task


def run_options(config: Mapping[str, Any]) -> ImageTrainOptions:
    """Make the options of a run from the values in its folder."""
    options = made("vision_train", config)
    assert isinstance(options, ImageTrainOptions)
    return options
