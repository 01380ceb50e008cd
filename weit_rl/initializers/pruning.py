"""Structured pruning to a shape (Xia et al., "Sheared LLaMA", ICLR 2024, arXiv 2310.06694)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from weit_rl.core.plan import Plan
from weit_rl.core.stacked_weights import state_dict_of
from weit_rl.initializers._shared.directions import refuse
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource
from weit_rl.initializers.structured_pruning.pruner import Pruner

LR, MASK_LR = 3e-3, 1.0  # learning rates of weights, and of scores and multipliers


def pruning(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Make a narrower or shallower target: train the source's weights with masks, then cut to the best units.

    Hard-concrete masks lie on blocks, heads, hidden neurons and the stream. A Lagrangian for each kind of unit leads
    them to the target's shape, which the cut then reaches exactly. Without training, units are cut by magnitude and
    blocks evenly.
    """
    assert source is not None
    domains = context.domains or [context.loss]
    pruner = Pruner(source.net, target, context.plan, context.head_dim, domains, context.seed)
    recipe = replace(context.recipe, lr=context.recipe.lr or LR)
    context.fit(pruner, lambda step: pruner.loss(step, recipe.steps), recipe, groups(pruner))
    context.spent["steps"] = recipe.steps
    return state_dict_of(target, pruner.sliced(fold=recipe.steps > 0), source.net, context.plan)


def groups(pruner: Pruner) -> list[dict[str, Any]]:
    """Group the parameters: weights at the recipe's rate, scores at theirs, and multipliers, which are maximised."""
    multipliers = [*pruner.first.parameters(), *pruner.second.parameters()]
    own: dict[str, Any] = {"lr": MASK_LR, "weight_decay": 0.0}
    parts: list[dict[str, Any]] = [
        {"params": list(pruner.weights.parameters())},
        {"params": list(pruner.scores.parameters()), **own},
        {"params": multipliers, **own, "maximize": True},
    ]
    return [part for part in parts if part["params"]]


def check(source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Raise NotDefined for a target that is wider or deeper than its source."""
    assert source is not None
    refuse("pruning", source.net, target, plan, wider=False, deeper=False)


INITIALIZERS.add("pruning", Initializer(pruning, train_lr=1e-3, stage_steps=300, fixed_stage=True, check=check))
