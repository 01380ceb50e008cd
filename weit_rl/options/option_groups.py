"""Groups of options that several commands share, such as ``body.legs`` and ``size.width``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weit_rl.options.option_fields import Options, option


@dataclass
class BodyOptions(Options):
    """Sizes of a robot's parts."""

    torso: float | None = option(
        None,
        "length of the torso, times the original's (other sizes of env's body: docs/bodies.md)",
    )
    limbs: float | None = option(None, "length of the limbs, times the original's")
    segments: int | None = option(None, "parts of HalfCheetah's trunk")
    legs: int | None = option(None, "legs of Ant")
    links: int | None = option(None, "links of Swimmer")


@dataclass
class SizeOptions(Options):
    """The size of a policy network."""

    name: str = option(
        "small",
        "size=NAME for short: tiny 64x2, small 128x3, base 128x6, large 192x6, xlarge 256x8, or any WIDTHxDEPTH",
    )
    width: int | None = option(None, "channels, a multiple of 32; replaces the named size's")
    depth: int | None = option(None, "number of blocks; replaces the named size's")


if TYPE_CHECKING:
    NamedSize = SizeOptions
else:  # a file of options that Hydra reads may say size: 96x3
    NamedSize = Any


@dataclass
class ImageSizeOptions(SizeOptions):
    """The size of a network of images."""

    name: str = option(
        "small",
        "size=NAME for short: tiny 64x2, small 128x3, base 128x6, large 192x6, xlarge 256x8, or any WIDTHxDEPTH, "
        "WIDTHxDEPTHxHEAD with the channels of an attention head (without: those of the bank or source, or 32)",
    )
    width: int | None = option(None, "channels, a multiple of a head's; replaces the named size's")
    depth: int | None = option(None, "number of blocks; replaces the named size's")


@dataclass
class TrainerOptions(Options):
    """The processes that train one network together."""

    devices: int | None = option(
        None,
        "processes that share every batch, one a GPU, or all on the CPU (null: one, or as many as torchrun started)",
    )
    strategy: str = option(
        "auto",
        "auto (ddp), ddp (each holds all weights) or fsdp (in the training stage each holds a part)",
    )


@dataclass
class BankTrainerOptions(TrainerOptions):
    """The processes that pre-train one bank together."""

    strategy: str = option("auto", "auto or ddp (each holds all factors, whose gradients are reduced once a step)")


@dataclass
class LevelOptions(Options):
    """Episodes of each level of behaviour data."""

    expert: int = option(50, "train: episodes of the snapshot with the best selection return; 0 leaves the level out")
    medium: int = option(
        40,
        "train: episodes of the snapshot whose selection return is nearest to halfway between the worst and the best",
    )
    random: int = option(20, "train: episodes of uniformly random actions")


@dataclass
class SweepOptions(Options):
    """The search of Optuna for a bank's options."""

    trials: int = option(
        20,
        "mode=sweep: banks that Optuna tries, each pre-trained and judged on tuning sizes and validation data",
    )
    rank: list[int] = option([16, 128], "mode=sweep: least and most templates per role")
    masks: list[str] = option(["drawn", "full", "none"], "mode=sweep: networks trained a step of pre-training")
    sampler: str = option("tpe", "mode=sweep: tpe (tree-structured Parzen estimator) or random")
    together: int = option(
        4,
        "mode=sweep: trials that are drawn before any of them is known, and worked on at the same time",
    )
    seed: int = option(0, "mode=sweep: of what is drawn")
