"""The options of what is done with finished runs of images, and of their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weit_rl.options.model_words import IMAGE_MODEL_OPTIONS
from weit_rl.options.option_fields import REQUIRED, Options, option


@dataclass
class ImageEvaluateOptions(Options):
    """Options of ``python -m weit_rl.vision mode=evaluate``.

    Score a finished run on its test images: accuracy, confusion matrix and reliability, with pictures of both; of a
    diffusion run the loss, drawn images and, with features=RUN, how near these are to the test images: FID, KID,
    precision and recall.
    """

    mode: str = option(
        "evaluate",
        "train, pretrain (makes a bank), evaluate (scores a run), sample (images of a diffusion run), export (to "
        "diffusers or timm), describe (what sizes cost); each has options of its own",
    )
    run: str = option(REQUIRED, "run folder, as printed by training")
    task: str = option("classification", "what is learned: classification, or a task that an installed package adds")
    data: str | None = option(None, "other images of the same classes (null: those of the run)")
    checkpoint: str = option("best", "which of a run's checkpoints: best (on validation images) or last")
    features: str | None = option(
        None,
        "diffusion: finished run of task=classification, or inception where its weights are, by whose features "
        "drawn images are compared with the test images",
    )
    samples: int = option(1000, "diffusion: images drawn for it, of the test images' classes in their shares")
    scheduler: str = option("ddim", "diffusion: how noise is taken away, by diffusers: ddim, ddpm, dpmsolver++")
    steps: int = option(50, "diffusion: of the scheduler")
    guidance: float = option(
        1.5,
        "diffusion: how far beyond the answer without a label that with one is followed; 1 for not at all",
    )
    seed: int = option(0, "diffusion: of the noise that images begin as")
    device: str = option("auto", "cpu, cuda, or auto: cuda if there is one")


@dataclass
class SampleOptions(Options):
    """Options of ``python -m weit_rl.vision mode=sample``.

    Draw images of given classes with a finished run of task=diffusion: a picture of all of them, and the images as
    they are.
    """

    mode: str = option(
        "sample",
        "train, pretrain (makes a bank), evaluate (scores a run), sample (images of a diffusion run), export (to "
        "diffusers or timm), describe (what sizes cost); each has options of its own",
    )
    run: str = option(REQUIRED, "run folder, as printed by training")
    task: str = option("diffusion", "what was learned")
    checkpoint: str = option("last", "which of a run's checkpoints: last, or best (on held-out images)")
    classes: list[Any] | None = option(None, "what is drawn, names or numbers of classes (null: all)")
    images: int = option(8, "of each class")
    scheduler: str = option("ddim", "how noise is taken away, by diffusers: ddim, ddpm, dpmsolver++")
    steps: int = option(50, "of the scheduler")
    guidance: float = option(
        1.5,
        "how far beyond the answer without a label that with one is followed; 1 for not at all",
    )
    seed: int = option(0, "of the noise that images begin as")
    device: str = option("auto", "cpu, cuda, or auto: cuda if there is one")


@dataclass
class ImageExportOptions(Options):
    """Options of ``python -m weit_rl.vision mode=export``.

    Write a finished run of task=diffusion as a pipeline of diffusers: safetensors and JSON, read by
    weit_rl.vision.PixelDiTPipeline.from_pretrained; transformer and scheduler by diffusers' own classes, too. With
    task=classification a classifier is written as a folder for timm, read by timm.create_model("local-dir:FOLDER",
    pretrained=True).
    """

    mode: str = option(
        "export",
        "train, pretrain (makes a bank), evaluate (scores a run), sample (images of a diffusion run), export (to "
        "diffusers or timm), describe (what sizes cost); each has options of its own",
    )
    run: str = option(REQUIRED, "run folder, as printed by training")
    out: str = option(REQUIRED, "new folder")
    task: str = option("diffusion", "what was learned: diffusion or classification")
    checkpoint: str = option("last", "which of a run's checkpoints: last, or best (on held-out images)")
    scheduler: str = option(
        "ddim",
        "diffusion: that the pipeline begins with, and users may change: ddim, ddpm, dpmsolver++",
    )


@dataclass
class DescribeOptions(Options):
    """Options of ``python -m weit_rl.vision mode=describe``.

    Print what networks of images of some sizes are and cost, without making them: parameters, scalers, FLOPs, and
    the memory that training takes: weights, gradients, AdamW's two moments, and what the backward pass keeps of
    every image.
    """

    mode: str = option(
        "describe",
        "train, pretrain (makes a bank), evaluate (scores a run), sample (images of a diffusion run), export (to "
        "diffusers or timm), describe (what sizes cost); each has options of its own",
    )
    recipe: str | None = option(
        None,
        "options of a published training: imagenet, or a file like configs/recipe/imagenet.yaml (null: none)",
    )
    task: str = option("classification", "what is learned: classification or diffusion")
    model: str | None = option(None, "vit or convnext; diffusion: dit (null: vit or dit)")
    sizes: list[str] = option(
        ["tiny", "small", "base", "large", "xlarge"],
        "ladder names, deit-ti, deit-s, deit-b, dit-s, dit-b, dit-l, dit-xl, WIDTHxDEPTH or WIDTHxDEPTHxHEAD",
    )
    image_size: int = option(32, "edge of what a network sees, in pixels or numbers of a latent")
    channels: int = option(3, "of it")
    classes: int = option(10, "labels")
    patch_size: int | None = option(None, "edge of a patch, or stride of the stem, in pixels (null: by image_size)")
    model_options: dict[str, Any] = option({}, IMAGE_MODEL_OPTIONS)
    rank: int = option(32, "templates per role, for the number of scalers")
    tile: int = option(16, "channels of a template")
    batch_size: int = option(64, "images a gradient step")
