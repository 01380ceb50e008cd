"""The options of ``weit_rl.benchmark``, of control and of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weit_rl.options.model_words import IMAGE_MODEL_OPTIONS, MODEL_OPTIONS
from weit_rl.options.option_fields import option
from weit_rl.options.shared_options import ComparisonOptions, ControlDataOptions


@dataclass
class BenchmarkOptions(ComparisonOptions, ControlDataOptions):
    """Options of ``python -m weit_rl.benchmark``.

    Compare ways to make a network of a new size: methods x sizes x seeds x budgets on the same data, batches,
    training loop and evaluation seeds. A budget is every gradient step spent on a target. Finished cells are kept:
    the same command in the same run_dir goes on where it stopped, or adds the cells of more methods, sizes, seeds
    or budgets.
    """

    env: str = option("HalfCheetah", "environment by name, dmc/DOMAIN-TASK or gym:ID")
    model: str = option(
        "dt",
        "policy network: dt (decision transformer), tcn (causal convolutions over time), mlp (single states); of "
        "pixels: conv, convnext_policy, video (transformer over a clip); of states and pixels: multimodal",
    )
    model_options: dict[str, Any] = option({}, MODEL_OPTIONS)
    profile: str = option("core", "core (two cores, hours) or full (a GPU): sizes, budgets, seeds and episodes")
    sizes: list[Any] | None = option(None, "targets, ladder names or WIDTHxDEPTH (null: the profile's)")
    episodes: int | None = option(None, "test episodes of a cell (null: the profile's)")
    pretrain_steps: int = option(
        9500,
        "steps of WeiT's bank; the banks and networks other methods start from are trained for its FLOPs",
    )
    run_dir: str | None = option(None, "folder (null: runs/benchmark-ENV-PROFILE)")


@dataclass
class ImageBenchmarkOptions(ComparisonOptions):
    """Options of ``python -m weit_rl.benchmark task=classification``, and of other tasks of images.

    Compare ways to make a network of images of a new size: methods x sizes x seeds x budgets on the same data,
    batches, training loop and test images. A budget is every gradient step spent on a target. Finished cells are
    kept: the same command in the same run_dir goes on where it stopped, or adds the cells of more methods, sizes,
    seeds or budgets.
    """

    task: str = option(
        "classification",
        "what is learned: classification, diffusion, or a task that an installed package adds",
    )
    data: str = option(
        "digits",
        "images: digits, a folder or .zip in ImageFolder's layout (of images, or of .wav sounds), CIFAR10 and "
        "others of torchvision, hf:NAME",
    )
    model: str | None = option(
        None,
        "vit (vision transformer) or convnext (ConvNeXt V2); diffusion: dit (null: vit or dit)",
    )
    model_options: dict[str, Any] = option({}, IMAGE_MODEL_OPTIONS)
    options: dict[str, Any] = option(
        {},
        "further options of weit_rl.vision that every run has, such as {image_size: 32, flip: true}",
    )
    profile: str = option("core", "core (two cores, hours) or full (a GPU): budgets and seeds")
    sizes: list[str] = option(["32x3", "32x5", "160x5", "128x8"], "targets, ladder names or WIDTHxDEPTH")
    batch_size: int = option(64, "images a gradient step")
    pretrain_steps: int = option(
        3000,
        "steps of WeiT's bank; the banks and networks other methods start from are trained for its FLOPs",
    )
    features: str | None = option(
        None,
        "diffusion: finished run of task=classification, or inception where its weights are, by whose features "
        "drawn images are compared with the test images (null: one is trained, vit 128x3 on the same data)",
    )
    samples: int | None = option(None, "diffusion: images that are drawn of every network (null: 500)")
    sampling_steps: int | None = option(None, "diffusion: of the scheduler for them (null: 20)")
    run_dir: str | None = option(None, "folder (null: runs/benchmark-DATA-PROFILE)")
