"""TLEG (arXiv 2312.05614): every block is linear in its place, ``W_l = A + (l / L) B``; any depth reads the same line.

That is the Kronecker form with two templates as large as the weight and the scalers ``(1, l / L)``, l from 0. The paper
trains A and B by distillation; here they are the least-squares line through the blocks of a trained source, the closed
form, so that every initialiser starts from the same thing. Everything that blocks have is on the line, biases and norms
too; what lies outside them is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.core.plan import Plan
from weit_rl.core.stacked_weights import state_of, weights_of
from weit_rl.initializers._shared.directions import refuse
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, Source

Scalers = Callable[[int, int], tuple[Tensor, Tensor]]
"""``(source depth, target depth)`` to the scalers ``(blocks, templates)`` of either."""


def line(old: int, new: int) -> tuple[Tensor, Tensor]:
    """The scalers ``(1, l / L)`` of source and target."""

    def at(depth: int) -> Tensor:
        places = torch.arange(depth, dtype=torch.float64) / depth
        return torch.stack([torch.ones_like(places), places], dim=1)

    return at(old), at(new)


def tleg(source: Source | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """A target of the source's widths and any depth, on the line through the source's blocks."""
    return by_depth(line, source, target, context)


def by_depth(scalers: Scalers, source: Source | None, target: nn.Module, context: Context) -> dict[str, Tensor]:
    """A target whose blocks are sums of full-size templates, these fitted to the source's blocks by least squares.

    Args:
        scalers: how much of each template a block takes, by its place.
        source: a trained network of the target's widths.
        target: the network wanted.
        context: of the run.
    """
    assert source is not None
    weights = weights_of(source.net, context.plan)
    for key, slot in context.plan.layout(target).items():
        if slot.stacked:
            seen, wanted = scalers(len(weights[key]), len(slot.names))
            mix = (wanted @ torch.linalg.pinv(seen)).to(weights[key])  # (target blocks, source blocks)
            weights[key] = torch.tensordot(mix, weights[key], dims=1)
    return state_of(target, weights, source.net, context.plan)


def check(method: str, source: Source | None, target: nn.Module, plan: Plan) -> None:
    """UserError without a source, NotDefined for a target of other widths."""
    if source is None:
        raise UserError(f"init={method} needs a trained network; give source=PATH")
    refuse(method, source.net, target, plan, wider=False, narrower=False)


INITIALIZERS.add("tleg", Initializer(tleg, train_lr=1e-3, check=partial(check, "tleg")))
