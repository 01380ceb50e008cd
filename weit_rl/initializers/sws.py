"""SWS (arXiv 2404.16897): blocks of one stage share one weight; a block of any depth takes that of its stage.

This is the Kronecker form with one full-size template per stage and one-hot scalers. The paper trains the stages by
distillation. Here a stage is the mean of its blocks in the source, the least-squares fit in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from weit_rl.initializers._shared.depth_scalers import by_depth, check_same_width
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

STAGES = 3  # at most; the paper gives no number for networks as shallow as ours


def stages(old: int, new: int) -> tuple[Tensor, Tensor]:
    """Return the one-hot scalers of source and target: a block belongs to the stage that its middle lies in."""
    number = min(STAGES, old)

    def one_hot(depth: int) -> Tensor:
        middles = 2 * torch.arange(depth) + 1
        return torch.eye(number, dtype=torch.float64)[middles * number // (2 * depth)]

    return one_hot(old), one_hot(new)


def sws(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Make a target of the source's widths and any depth from the means of up to three stages of the source."""
    return by_depth(stages, source, target, context)


INITIALIZERS.add("sws", Initializer(sws, train_lr=1e-3, check=partial(check_same_width, "sws")))
