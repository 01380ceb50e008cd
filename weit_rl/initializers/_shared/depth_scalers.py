"""Targets of any depth whose blocks are weighted sums of templates as large as a weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.core.plan import Plan
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers._shared.directions import refuse
from weit_rl.initializers.registry import Context, TrainedSource

DepthScalers = Callable[[int, int], tuple[Tensor, Tensor]]
"""``(source depth, target depth)`` to the scalers ``(blocks, templates)`` of each."""


def line(old: int, new: int) -> tuple[Tensor, Tensor]:
    """Return the scalers ``(1, l / L)`` of source and target, ``l`` being the index of a block and ``L`` the depth."""

    def at(depth: int) -> Tensor:
        places = torch.arange(depth, dtype=torch.float64) / depth
        return torch.stack([torch.ones_like(places), places], dim=1)

    return at(old), at(new)


def by_depth(
    scalers: DepthScalers, source: TrainedSource | None, target: nn.Module, context: Context
) -> Mapping[str, Tensor]:
    """Make a target whose blocks are sums of templates fitted to the source's blocks by least squares.

    Args:
        scalers: the share of each template in a block, by the block's place.
        source: a trained network of the target's widths.
        target: a network of the size wanted.
        context: plan of the run.

    Returns:
        The state dict of the target. Parameters outside the blocks are the source's.
    """
    assert source is not None
    weights = stack_weights(source.net, context.plan)
    for key, slot in context.plan.layout(target).items():
        if slot.stacked:
            seen, wanted = scalers(len(weights[key]), len(slot.names))
            mix = (wanted @ torch.linalg.pinv(seen)).to(weights[key])  # (target blocks, source blocks)
            weights[key] = torch.tensordot(mix, weights[key], dims=1)
    return state_dict_of(target, weights, source.net, context.plan)


def check_same_width(method: str, source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Refuse a missing source with UserError, and a target of other widths with NotDefined."""
    if source is None:
        raise UserError(f"init={method} needs a trained network; give source=PATH")
    refuse(method, source.net, target, plan, wider=False, narrower=False)
