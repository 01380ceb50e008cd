"""Make the image tasks, classification and diffusion, from a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

from weit_rl.common.cpu_cores import usable_cores
from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.data.images import Images, load_images, name_of
from weit_rl.data.images.parts import ImagesInMemory
from weit_rl.models.registry import command_options
from weit_rl.models.timm_checkpoint import timm_card, timm_file
from weit_rl.options.image_training_options import ImagePretrainOptions, ImageTrainOptions
from weit_rl.tasks.classification import NAME as CLASSIFICATION
from weit_rl.tasks.classification import Classification, ClassificationConfig
from weit_rl.tasks.diffusion import NAME as DIFFUSION
from weit_rl.tasks.diffusion import Diffusion, DiffusionConfig
from weit_rl.tasks.registry import TASKS, Measure, TaskEntry
from weit_rl.training.device import device_of

KINDS: dict[str, tuple[Any, Any]] = {
    CLASSIFICATION: (Classification, ClassificationConfig),
    DIFFUSION: (Diffusion, DiffusionConfig),
}
MOST_WORKERS = 8  # if the config gives no number
DEFAULT_MODELS = {CLASSIFICATION: "vit", DIFFUSION: "dit"}


class ModelChoice(Protocol):
    """Options that name a model of images.

    Attributes:
        model: name of the model; None if it is to be filled in.
        patch_size: edge of a patch in pixels, read only beside ``source``.
        model_options: options of the model; they may hold ``patch_size``, too.
    """

    model: str | None
    patch_size: int | None
    model_options: dict[str, Any]

    def get(self, name: str) -> Any:
        """Return an option, or None if there is no such option."""
        ...

    def __contains__(self, name: object) -> bool: ...


def image_task(
    cfg: ImageTrainOptions | ImagePretrainOptions,
    tile: int = ClassificationConfig.tile,
    *,
    task: str,
    make: Callable[..., Any] | None = None,
    images: Images | None = None,
) -> Any:
    """Make the image task of a config.

    Args:
        cfg: the composed config of a command.
        tile: edge of a template (default 16).
        task: name of the task.
        make: makes the task from images and its own config (default: the class of ``task``).
        images: the set of images (default: the set that the config names).

    Raises:
        UserError: for images, a model or numbers that do not fit, or an option of another task.
    """
    usual_make, config = KINDS[task]
    own = asdict(config())
    for other, (_, others) in KINDS.items():
        for name, usual in asdict(others()).items():
            if name not in own and name in cfg and cfg[name] != usual:
                asked = cfg.get("task", task)
                raise UserError(f"{name}={cfg[name]}: is for task={other}, and this is task={asked}; leave it out")
    where: dict[str, Any] = {"root": cfg.data_root, "download": cfg.download, "skip_corrupt": cfg.skip_corrupt}
    images = images or load_images(cfg.data, cfg.image_size, cfg.channels, **where)
    options = {name: cfg[name] for name in own if name in cfg} | {"tile": tile, "device": device_of(cfg)}
    options |= {"model_options": command_options(cfg), "workers": workers_of(cfg, images)}
    return (make or usual_make)(images, config(**options))


def workers_of(cfg: Mapping[str, Any], images: Images) -> int:
    """Choose how many processes read images in advance; by default 0 if the images are in memory."""
    if cfg.get("workers") is not None:
        return int(cfg["workers"])
    return 0 if isinstance(images.train, ImagesInMemory) else min(usable_cores(), MOST_WORKERS)


def fill_model(cfg: ModelChoice, *, task: str) -> None:
    """Fill in a config's model and patch size from the timm checkpoint that is its source, or by default."""
    foreign = timm_file(expand_home(cfg.get("source"))) if cfg.get("source") else None
    card: dict[str, Any] = timm_card(foreign) if foreign else {"model": DEFAULT_MODELS[task], "options": {}}
    if "model" in cfg and cfg.model is None:
        cfg.model = card["model"]
    asked = foreign and (cfg.patch_size is not None or "patch_size" in cfg.model_options)
    if foreign and not asked and cfg.model == card["model"]:
        cfg.patch_size = card["options"]["patch_size"]


def _add(task: str, measure: Measure, judge: Mapping[str, Any] | None = None) -> None:
    make = partial(image_task, task=task)
    prepare = partial(fill_model, task=task)
    TASKS.add(task, TaskEntry(make, lambda cfg: name_of(cfg.data), measure, prepare=prepare, judge=judge or {}))


_add(CLASSIFICATION, Measure(("accuracy", "top5", "loss"), "accuracy", digits=1))
DRAWN = ("fid", "kid", "precision", "recall", "psnr", "loss")
JUDGE = {"task": CLASSIFICATION, "model": "vit", "size": "small", "init": "scratch", "train_steps": 1000}
KID = Measure(("kid",), "KID (x 1000)", digits=2, less=True, unit=1000)
_add(DIFFUSION, Measure(DRAWN, "FID", digits=2, less=True, logged="psnr", beside=(KID,)), JUDGE)
