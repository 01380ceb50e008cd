"""Use trained networks on images: evaluate, sample, export, classify."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.output import print_line
from weit_rl.common.registry import unknown_name_error
from weit_rl.data.images.picture_files import are_pictures, pixels_of
from weit_rl.options.choices import check_numbers
from weit_rl.options.image_run_options import ImageEvaluateOptions, ImageExportOptions, SampleOptions
from weit_rl.options.option_table import options
from weit_rl.storage.atomic_write import cannot_write_error, unused_path, write_atomically
from weit_rl.tasks.pictures import grid_of
from weit_rl.training.device import device_of
from weit_rl.training.progress import print_table
from weit_rl.training.run_folder import RunFolder
from weit_rl.vision.load_pipeline import pipeline_class
from weit_rl.workflows.image_runs import diffusion_run, drawing_task, labels_of, network_of, task_of

ROWS = 20  # rows of a picture whose classes are printed


def evaluate_images(cfg: ImageEvaluateOptions) -> dict[str, Any]:
    """Evaluate one checkpoint on its test images; write metrics and pictures beside the run's own."""
    check_numbers(cfg)
    run = RunFolder.open(cfg.run)
    net, card = network_of(run, cfg.checkpoint, device_of(cfg))
    task = task_of(run, card, cfg)
    more, pictures = task.diagnostics(net)
    report = task.evaluate(net, seed=cfg.seed) | more
    report |= {"checkpoint": cfg.checkpoint, "data": task.name, "classes": card["classes"]}
    data = re.sub(r"[^\w.-]+", "-", task.name)
    name = unused_path(run.path / f"evaluation-{cfg.checkpoint}-{data}.json").name
    run.write_json(name, report)
    for kind, png in pictures.items():
        write_atomically(run.path / f"{Path(name).stem}-{kind}.png", png)
        run.log_image(card.get("step", run.last_step()), f"{kind}/{cfg.checkpoint}", png)
    run.close()
    judge = f", samples judged by the features of {report['features']}" if "features" in report else ""
    print_table(f"{cfg.run}{judge}", [task.row(cfg.checkpoint, report)])
    print_line(f"written: {run.path / name}, and beside it pictures of {' and '.join(pictures)}")
    return report


def sample(cfg: SampleOptions) -> dict[str, Any]:
    """Sample images of classes; returns ``images`` ``(n, C, H, W)`` uint8, ``labels`` and ``path`` of the file."""
    run = diffusion_run(cfg.run)
    for name in ("images", "steps"):
        if cfg[name] < 1:
            raise UserError(f"{name}={cfg[name]}: must be 1 or more")
    if not 0 <= cfg.seed < 2**63:
        raise UserError(f"seed={cfg.seed}: must be from 0 to 2**63 - 1")
    net, card = network_of(run, cfg.checkpoint, device_of(cfg))
    task = drawing_task(run, card, cfg)
    numbers = labels_of(cfg.classes, card["classes"])
    labels = torch.tensor(numbers).repeat_interleave(cfg.images)
    images = task.sample(net, labels, cfg.steps, cfg.guidance, cfg.seed, cfg.scheduler).numpy()
    path = unused_path(run.path / f"samples-{cfg.checkpoint}.npz")
    np.savez_compressed(path, images=images, labels=labels.numpy())
    write_atomically(path.with_suffix(".png"), grid_of(images, cfg.images))
    rows = ", ".join(card["classes"][number] for number in numbers[:ROWS]) + ", ..." * (len(numbers) > ROWS)
    print_line(f"written: {path} and {path.with_suffix('.png')}, one row per class: {rows}")
    return {"images": images, "labels": labels.numpy(), "path": str(path)}


def export_run(cfg: ImageExportOptions) -> dict[str, Any]:
    """Write a finished run as a folder for diffusers or timm; returns its ``path``."""
    if cfg.task not in EXPORTS:
        raise unknown_name_error("task", cfg.task, list(EXPORTS))
    out = expand_home(cfg.out)
    if out.exists():
        raise UserError(f"out={out}: exists already; choose a new folder")
    write, reads = EXPORTS[cfg.task](cfg)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".weit_rl-") as beside:
            new = Path(beside) / out.name
            new.mkdir()
            write(new)
            new.rename(out)  # so that the folder is complete or missing
    except OSError as error:
        raise cannot_write_error(out, error) from error
    print_line(f"written: {out}; {reads.format(out=out)} reads it")
    return {"path": str(out)}


def _pipeline(cfg: ImageExportOptions) -> tuple[Callable[[Path], None], str]:
    pipeline = pipeline_class().from_run(cfg.run, cfg.checkpoint, cfg.scheduler)
    return pipeline.save_pretrained, "weit_rl.vision.PixelDiTPipeline.from_pretrained"


def _timm_folder(cfg: ImageExportOptions) -> tuple[Callable[[Path], None], str]:
    from weit_rl.vision.timm_folder import write_timm

    if cfg.scheduler != options("vision_export")["scheduler"].default:
        raise UserError(f"scheduler={cfg.scheduler}: is for task=diffusion; leave it out")
    net, card = network_of(RunFolder.open(cfg.run), cfg.checkpoint, "cpu")
    if card.get("task") == "diffusion":
        raise UserError(f"run={cfg.run}: is of task=diffusion, not of task=classification; leave task out")
    return lambda folder: write_timm(folder, net, card), 'timm.create_model("local-dir:{out}", pretrained=True)'


EXPORTS = {"diffusion": _pipeline, "classification": _timm_folder}


@torch.no_grad()
def classes_of(run: Path, images: Any, checkpoint: str) -> dict[str, Any]:
    """Classify images, see :func:`weit_rl.vision.classify`."""
    net, card = network_of(RunFolder.open(run), checkpoint, "cpu")
    if card.get("task") == "diffusion":
        raise UserError(f"run={run}: is of task=diffusion, so it cannot classify; give a classifier")
    shape = card["options"]
    if are_pictures(images):
        images = pixels_of(images, shape["channels"], shape["image_size"])
    logits: Tensor = net(_pictures(images))
    return {"classes": [card["classes"][i] for i in logits.argmax(1).tolist()], "probabilities": logits.softmax(1)}


def _pictures(images: Any) -> Tensor:
    """Convert images to a tensor for a network; UserError for floats outside [0, 1], or another type."""
    try:
        tensor = torch.as_tensor(images)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"images: must be a tensor or an array, not {type(images).__name__}; give paths as a list"
        ) from error
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise UserError(f"images: are {tensor.dtype}; give bytes (uint8) or floats in [0, 1]")
    if tensor.is_floating_point() and tensor.numel() and not 0 <= float(tensor.min()) <= float(tensor.max()) <= 1:
        low, high = float(tensor.min()), float(tensor.max())
        raise UserError(f"images: are floats from {low:.4g} to {high:.4g}; give bytes (uint8) or floats in [0, 1]")
    return tensor
