"""The options of ``weit_rl.pretrain``."""

from __future__ import annotations

from dataclasses import dataclass

from weit_rl.options.model_words import ControlModelOptions
from weit_rl.options.option_fields import group, option
from weit_rl.options.option_groups import BankTrainerOptions, TrainerOptions
from weit_rl.options.shared_options import BankOptions, ControlDataOptions, RunOptions


@dataclass
class PretrainOptions(RunOptions, ControlModelOptions, BankOptions, ControlDataOptions):
    """Options of ``python -m weit_rl.pretrain``.

    Pre-train a bank of templates: networks of several sizes, cut from one, are trained together under the
    constraint.
    """

    model: str = option(
        "dt",
        "policy network: dt (decision transformer), tcn (causal convolutions over time), mlp (single states); of "
        "pixels: conv, convnext_policy, video (transformer over a clip); of states and pixels: multimodal",
    )
    size: str = option("128x6", "full size: ladder name or WIDTHxDEPTH; templates and scalers are trained at it")
    rank: int | str = option(
        64,
        "templates per role, or auto: as many for each as a short run without templates asks for",
    )
    steps: int = option(9500, "gradient steps")
    weight_decay: float = option(0.0001, "AdamW's decay of the templates (scalers have none)")
    grad_clip: float = option(0.25, "largest gradient norm")
    dropout: float = option(0.1, "share of each block's additions left out in training")
    episodes: int = option(20, "validation episodes that score the finished bank at each size")
    trainer: TrainerOptions = group(BankTrainerOptions)
