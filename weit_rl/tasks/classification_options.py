"""The classification task that a config describes: images, model, recipe."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from weit_rl.data.images import load_images
from weit_rl.data.images import name_of as name_of_images
from weit_rl.tasks import TASKS, Kind, Measure
from weit_rl.tasks.classification import NAME, Classification, ClassificationConfig
from weit_rl.training.device import device_of

ACCURACY = Measure(("accuracy", "top5", "loss"), "accuracy", digits=1)


def classification_task(cfg: Any, tile: int = ClassificationConfig.tile) -> Classification:
    """The classification task of a config."""
    names = {field.name for field in fields(ClassificationConfig)} & set(cfg)
    options = {name: cfg[name] for name in names} | {"tile": tile, "device": device_of(cfg)}
    where = {"root": cfg.data_root, "download": cfg.download, "skip_corrupt": cfg.skip_corrupt}
    images = load_images(cfg.data, cfg.image_size, cfg.channels, **where)
    return Classification(images, ClassificationConfig(**options))


TASKS.add(NAME, Kind(classification_task, lambda cfg: name_of_images(cfg.data), ACCURACY))
