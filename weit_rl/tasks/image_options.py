"""The tasks on images that a config describes: images, model, recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from weit_rl.common.cpu_cores import usable_cores
from weit_rl.common.errors import UserError
from weit_rl.common.home import expanded
from weit_rl.data.images import Images, load_images, name_of
from weit_rl.data.images.parts import Part
from weit_rl.models.timm_checkpoint import timm_card, timm_file
from weit_rl.tasks.classification import NAME as CLASSIFICATION
from weit_rl.tasks.classification import Classification, ClassificationConfig
from weit_rl.tasks.diffusion import NAME as DIFFUSION
from weit_rl.tasks.diffusion import Diffusion, DiffusionConfig
from weit_rl.tasks.registry import TASKS, Kind, Measure
from weit_rl.training.device import device_of

KINDS: dict[str, tuple[Any, Any]] = {
    CLASSIFICATION: (Classification, ClassificationConfig),
    DIFFUSION: (Diffusion, DiffusionConfig),
}
MOST_WORKERS = 8  # where nobody says how many
MODELS = {CLASSIFICATION: "vit", DIFFUSION: "dit"}  # where none is named


def image_task(
    cfg: Any, tile: int = ClassificationConfig.tile, *, task: str, make: Any = None, images: Images | None = None
) -> Any:
    """The task of a config.

    Args:
        cfg: of a command.
        tile: edge of the templates.
        task: whose options the config has.
        make: the task from images and its own config (default: the class of ``task``).
        images: the set (default: it is read as the config says).

    Raises:
        UserError: for images, a model or numbers that do not fit, or an option that another task has.
    """
    usual_make, config = KINDS[task]
    own = asdict(config())
    for other, (_, others) in KINDS.items():
        for name, usual in asdict(others()).items():
            if name not in own and name in cfg and cfg[name] != usual:
                raise UserError(f"{name}={cfg[name]}: is for task={other}, and this is task={task}; leave it out")
    where = {"root": cfg.data_root, "download": cfg.download, "skip_corrupt": cfg.skip_corrupt}
    images = images or load_images(cfg.data, cfg.image_size, cfg.channels, **where)
    options = {name: cfg[name] for name in own if name in cfg} | {"tile": tile, "device": device_of(cfg)}
    return (make or usual_make)(images, config(**options | {"workers": workers_of(cfg, images)}))


def workers_of(cfg: Mapping[str, Any], images: Images) -> int:
    """The processes that read images ahead: as many as a config asks for, or some where images are not in memory."""
    if cfg.get("workers") is not None:
        return int(cfg["workers"])
    return 0 if isinstance(images.train, Part) else min(usable_cores(), MOST_WORKERS)


def complete(cfg: Any, *, task: str) -> None:
    """Model and patches where the config leaves them open: those of timm's checkpoint that is its source, or usual."""
    foreign = timm_file(expanded(cfg.source)) if cfg.get("source") else None
    card: dict[str, Any] = timm_card(foreign) if foreign else {"model": MODELS[task], "options": {}}
    if "model" in cfg and cfg.model is None:
        cfg.model = card["model"]
    if foreign and cfg.patch_size is None and cfg.model == card["model"]:
        cfg.patch_size = card["options"]["patch_size"]


def _add(task: str, measure: Measure, judge: tuple[str, ...] = ()) -> None:
    of_config = partial(image_task, task=task)
    prepare = partial(complete, task=task)
    TASKS.add(task, Kind(of_config, lambda cfg: name_of(cfg.data), measure, prepare=prepare, judge=judge))


_add(CLASSIFICATION, Measure(("accuracy", "top5", "loss"), "accuracy", digits=1))
DRAWN = ("fid", "kid", "precision", "recall", "psnr", "loss")
JUDGE = (f"task={CLASSIFICATION}", "model=vit", "size=small", "init=scratch", "train_steps=1000")
KID = Measure(("kid",), "KID (x 1000)", digits=2, less=True, unit=1000)
_add(DIFFUSION, Measure(DRAWN, "FID", digits=2, less=True, logged="psnr", beside=(KID,)), JUDGE)
