"""Trained classifiers: scored on their test images, with pictures of what they confuse, and used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from weit_rl.atomic import unused, write_atomically
from weit_rl.errors import UserError
from weit_rl.tasks import kind_of
from weit_rl.tasks.calibration import calibration_error, confusion_matrix, draw_confusion, draw_reliability
from weit_rl.tasks.classification import Classification
from weit_rl.training.checkpoint import load_network
from weit_rl.training.device import device_of
from weit_rl.training.progress import table
from weit_rl.training.run_folder import RunFolder


def evaluate_classifier(cfg: Any) -> dict[str, Any]:
    """The metrics of one checkpoint on its test images; written beside the run's own, with two pictures."""
    run = RunFolder.open(cfg.run)
    net, card = network_of(run, cfg.checkpoint, device_of(cfg))
    task = task_of(run, card, cfg)
    logits, labels = task.logits(net), torch.from_numpy(task.images.test.labels)
    matrix = confusion_matrix(logits, labels)
    report = task.evaluate(net) | {"calibration_error": calibration_error(logits, labels)}
    report |= {"checkpoint": cfg.checkpoint, "data": task.name, "classes": list(task.images.classes)}
    report["confusion"] = matrix.tolist()
    name = unused(run.path / f"evaluation-{cfg.checkpoint}-{task.name}.json").name
    run.write_json(name, report)
    pictures = {
        "confusion": draw_confusion(matrix, task.images.classes),
        "reliability": draw_reliability(logits, labels),
    }
    step = card.get("step", run.last_step())
    for kind, png in pictures.items():
        write_atomically(run.path / f"{Path(name).stem}-{kind}.png", png)
        run.log_image(step, f"{kind}/{cfg.checkpoint}", png)
    run.close()
    table(f"{cfg.run}", [task.row(cfg.checkpoint, report)])
    print(f"written: {run.path / name}, and pictures of confusion and reliability beside it")
    return report


def network_of(run: RunFolder, checkpoint: str, device: str) -> tuple[Any, dict[str, Any]]:
    """A network of a run with its card, on a device."""
    path = run.checkpoint_path(checkpoint)
    if not path.is_file():
        have = [p.stem for p in sorted(path.parent.glob("*.safetensors")) if not p.stem.endswith("_state")]
        raise UserError(
            f"checkpoint={checkpoint}: {run.path} has none of that name (it has {', '.join(have) or 'none'})"
        )
    net, card = load_network(path)
    if "classes" not in card:
        raise UserError(f"run={run.path}: is of no classifier; score it with python -m weit_rl.evaluate run={run.path}")
    return net.to(device), card


def task_of(run: RunFolder, card: dict[str, Any], cfg: Any) -> Classification:
    """What the run was trained for, or the same on other images."""
    data = cfg.data if cfg.data is not None else run.config.data
    changes = {"data": data, "device": cfg.device}
    if cfg.data is not None:
        changes |= {name: card["options"][name] for name in ("image_size", "channels")}
    task: Classification = kind_of(run.config).make(OmegaConf.merge(run.config, changes))
    if list(task.images.classes) != card["classes"]:
        have, known = (", ".join(names) for names in (task.images.classes, card["classes"]))
        raise UserError(f"data={data}: has the classes {have}, the run knows {known}; give images of the same ones")
    return task


@torch.no_grad()
def classes_of(run: Path, images: Any, checkpoint: str) -> dict[str, Any]:
    """Names and probabilities, see :func:`weit_rl.vision.classify`."""
    net, card = network_of(RunFolder.open(run), checkpoint, "cpu")
    logits: Tensor = net(torch.as_tensor(images))
    return {"classes": [card["classes"][i] for i in logits.argmax(1).tolist()], "probabilities": logits.softmax(1)}
