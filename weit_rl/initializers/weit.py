"""WeiT: templates frozen, scalers resized from the bank's network, then trained for a short stage."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weit_rl.bank import TemplateBank
from weit_rl.errors import UserError
from weit_rl.initializers import INITIALIZERS, Context
from weit_rl.plan import Plan
from weit_rl.resize import resize
from weit_rl.weit import WeiT


def weit(source: TemplateBank | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """A target of any size from a bank: ``context.recipe.steps`` steps on scalers and free parameters (0 allowed).

    Raises:
        UserError: without a pre-trained bank, or when the bank does not fit the plan.
    """
    if source is None or context.source_net is None:
        raise UserError("init=weit needs a pre-trained bank: give bank=PATH, or make one with weit_rl.pretrain")
    net = network_of_size(source, context.source_net, target, context.plan, context.seed)
    net.bank.requires_grad_(False)
    context.fit(net, lambda step: context.loss(net, step), context.recipe, scaler_groups(net, context.recipe.lr))
    context.spent["steps"] = context.recipe.steps
    return net.materialize().state_dict()


def network_of_size(bank: TemplateBank, source_net: nn.Module, target: nn.Module, plan: Plan, seed: int = 0) -> WeiT:
    """The composed network of the target's size that starts from the bank's own network.

    Args:
        bank: pre-trained (its ``source`` holds scalers, free parameters and buffers).
        source_net: a plain network of the bank's size.
        target: a plain network of the size wanted.
        plan: of both.
        seed: draws the shares of repeated inputs.
    """
    net = WeiT(target, bank, plan, seed)
    own = {name[4:]: t for name, t in bank.source.items() if name.startswith("own.")}
    for key in net.layout:
        if key not in own:
            raise UserError(f"the bank's network has no {key}, which the model needs; use a bank made for this model")
    generator = torch.Generator().manual_seed(seed)
    net.load_own(resize(own, plan.layout(source_net), net.layout, bank.constraint.factored, generator))
    for name, buffer in net.net.named_buffers():
        buffer.copy_(bank.source.get(f"buffer.{name}", buffer))
    return net


def scaler_groups(net: WeiT, lr: float) -> list[dict]:
    """Scalers and free parameters, neither decayed."""
    return [
        {"params": list(net.scalers.parameters()), "lr": lr, "weight_decay": 0.0},
        {"params": list(net.free.parameters()), "lr": lr, "weight_decay": 0.0},
    ]


INITIALIZERS.add("weit", weit)
