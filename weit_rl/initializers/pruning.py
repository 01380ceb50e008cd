"""Structured pruning to a shape (Xia et al., "Sheared LLaMA", ICLR 2024, arXiv 2310.06694)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from weit_rl.core.plan import Plan
from weit_rl.core.stacked_weights import state_of
from weit_rl.initializers._shared.directions import refuse
from weit_rl.initializers._shared.pruner import Pruner
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, Source

LR, MASK_LR = 3e-3, 1.0  # of weights; of scores and multipliers


def pruning(source: Source | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """A narrower or shallower target: the source's weights trained with masks, then cut to the best units.

    The masks are hard-concrete, on blocks, heads, hidden neurons and the stream; a Lagrangian for each kind leads them
    to the target's shape, which the cut then reaches exactly. With no steps the cut is by magnitude, blocks evenly.
    """
    assert source is not None
    domains = context.domains or [context.loss]
    pruner = Pruner(source.net, target, context.plan, context.head_dim, domains, context.seed)
    recipe = replace(context.recipe, lr=context.recipe.lr or LR)
    context.fit(pruner, lambda step: pruner.loss(step, recipe.steps), recipe, groups(pruner))
    context.spent["steps"] = recipe.steps
    return state_of(target, pruner.sliced(fold=recipe.steps > 0), source.net, context.plan)


def groups(pruner: Pruner) -> list[dict[str, Any]]:
    """The weights at the recipe's rate; scores and multipliers at their own, the multipliers uphill."""
    multipliers = [*pruner.first.parameters(), *pruner.second.parameters()]
    own: dict[str, Any] = {"lr": MASK_LR, "weight_decay": 0.0}
    parts: list[dict[str, Any]] = [
        {"params": list(pruner.weights.parameters())},
        {"params": list(pruner.scores.parameters()), **own},
        {"params": multipliers, **own, "maximize": True},
    ]
    return [part for part in parts if part["params"]]


def check(source: Source | None, target: nn.Module, plan: Plan) -> None:
    """NotDefined for a target wider or deeper than its source."""
    assert source is not None
    refuse("pruning", source.net, target, plan, wider=False, deeper=False)


INITIALIZERS.add("pruning", Initializer(pruning, train_lr=1e-3, stage_steps=300, fixed_stage=True, check=check))
