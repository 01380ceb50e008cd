"""Training the target itself for the whole pre-training budget: the upper bound, at full cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

PEAK_LR = 3e-3  # of a plain network that starts untrained


def direct(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Train the target's own weights for ``context.recipe.steps`` steps; every size has this cost."""
    recipe = replace(context.recipe, lr=context.recipe.lr or PEAK_LR)
    context.fit(target, lambda step: context.loss(target, step), recipe)
    context.spent["steps"] = recipe.steps
    return target.state_dict()


INITIALIZERS.add("direct", Initializer(direct, train_lr=1e-3, stage_steps=10_000, fixed_stage=True, needs_source=False))
