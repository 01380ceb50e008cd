"""LiGO (Wang et al., "Learning to Grow Pretrained Models for Efficient Transformer Training", ICLR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from weit_rl.core.plan import Plan
from weit_rl.core.skeleton import bind_weights, skeleton
from weit_rl.core.stacked_weights import state_dict_of
from weit_rl.fitting.growth_maps import Growth
from weit_rl.initializers._shared.directions import refuse
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

LR = 3e-3


def ligo(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Make a wider or deeper target by linear maps of the source's weights.

    Only the maps are trained, for ``context.recipe.steps`` steps. A target of the source's size starts as the source.
    """
    assert source is not None
    growth = Growth(source.net, target, context.plan, context.seed)
    shell = skeleton(target)
    for name, buffer in grown(growth, source, target, context.plan).items():
        if name in dict(shell.named_buffers()):
            shell.get_buffer(name).copy_(buffer)
    recipe = replace(context.recipe, lr=context.recipe.lr or LR)
    groups = [{"params": list(growth.parameters()), "weight_decay": 0.0}]  # weight decay would undo the copying
    context.fit(growth, lambda step: context.loss(bind_weights(shell, growth.new, growth()), step), recipe, groups)
    context.spent["steps"] = recipe.steps
    return grown(growth, source, target, context.plan)


@torch.no_grad()
def grown(growth: Growth, source: TrainedSource, target: nn.Module, plan: Plan) -> dict[str, Tensor]:
    """Return the target's state dict with the weights that the maps give."""
    return state_dict_of(target, growth(), source.net, plan)


def check(source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Raise NotDefined for a target that is narrower or shallower than its source."""
    assert source is not None
    refuse("ligo", source.net, target, plan, narrower=False, shallower=False)


INITIALIZERS.add("ligo", Initializer(ligo, train_lr=1e-3, stage_steps=100, fixed_stage=True, check=check))
