"""A bank from any trained network, in closed form, without pre-training under the constraint.

It is the baseline that separates the effect of WeiT's pre-training from that of factorising a checkpoint. It also makes
a bank from weights that you already have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.plan import STREAM, Plan, Slot
from weit_rl.core.stacked_weights import stack_weights
from weit_rl.core.template_svd import best_templates, project
from weit_rl.initializers._shared.directions import depth, widths
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource
from weit_rl.initializers.weit import weit

RANK = 64  # as in pre-training for control


def svd_bank(
    source: TrainedSource | None, target: nn.Module, context: Context, rank: int = RANK
) -> Mapping[str, Tensor]:
    """Make a target as ``init=weit`` does, with a bank made of ``source.net`` in closed form.

    Args:
        source: any trained network.
        target: a network of the size wanted.
        context: plan, loss, data and training loop of the run.
        rank: templates per role (default 64); with as many as a tile has entries, nothing is lost.

    Returns:
        The state dict of the target.

    Raises:
        UserError: if ``rank`` is less than 1.
    """
    assert source is not None
    if not isinstance(rank, int) or rank < 1:
        raise UserError(f"rank={rank}: must be an integer, 1 or more")
    layout = context.plan.layout(source.net)
    known = STREAM in widths(layout)  # then other widths are treated as with a pre-trained bank
    size = Size(widths(layout)[STREAM], depth(layout), context.head_dim) if known else None
    bank = factorise(source.net, context.plan, rank, size=size)
    net = network_of_size(bank, source.net, source.net, context.plan, context.seed).materialize()
    return weit(TrainedSource(net, bank, source.new_task), target, context)


@torch.no_grad()
def factorise(
    net: nn.Module,
    plan: Plan,
    rank: int = RANK,
    constraint: str = "kronecker",
    size: Size | None = None,
    model: str = "dt",
) -> TemplateBank:
    """Make the bank whose own network is nearest to ``net``; at full rank it is equal to it.

    Args:
        net: any trained network.
        plan: its plan.
        rank: templates per role (default 64).
        constraint: ``"kronecker"`` (default), or ``"identity"``, which loses nothing.
        size: size of ``net``, for the card (default None). A bank that the commands read needs it.
        model: name of its family, for the card (default ``"dt"``).

    Raises:
        UserError: for a constraint without a closed form, or a plan that does not fit.
    """
    layout, own = plan.layout(net), stack_weights(net, plan)
    roles: dict[str, dict[str, Slot]] = {}
    for key, slot in layout.items():
        if slot.rule.tile is not None:
            roles.setdefault(slot.rule.role, {})[key] = slot
    templates = {}
    for role, slots in roles.items():
        stacks, tile = {key: own[key] for key in slots}, next(iter(slots.values())).rule.tile
        assert tile is not None
        templates[role], factors = closed_form(stacks, tile, rank, constraint)
        own |= factors
    source = {f"own.{key}": tensor.clone() for key, tensor in own.items()}
    source |= {f"buffer.{name}": buffer.clone() for name, buffer in net.named_buffers()}
    card: dict[str, Any] = {"model": model}
    card |= {"size": [size.width, size.depth, size.head_dim], "sizes_sampled": [str(size)]} if size else {}
    return TemplateBank(templates, constraint, card, source)


def closed_form(
    stacks: Mapping[str, Tensor], tile: tuple[int, ...], rank: int, constraint: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Factorise the weights of a role; return the shared factors, and the network's own ones by slot."""
    like = next(iter(stacks.values()))
    if constraint == "identity":
        return like.new_empty(0, *tile), dict(stacks)
    if constraint != "kronecker":
        raise UserError(f"constraint={constraint}: has no closed form; use kronecker or identity")
    best = best_templates(list(stacks.values()), tile, rank)
    scalers = {key: project(stack, best) for key, stack in stacks.items()}
    # Scalers get the variance 1/N of untrained ones, so that the same learning rates suit them.
    square = torch.cat([s.flatten() for s in scalers.values()]).square().mean() * len(best)
    scale = square.sqrt() if square > 0 else 1.0
    return (best * scale).to(like), {key: (s / scale).to(like) for key, s in scalers.items()}


INITIALIZERS.add("svd_bank", Initializer(svd_bank, train_lr=1e-3, stage_steps=300))
