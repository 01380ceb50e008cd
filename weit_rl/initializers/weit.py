"""WeiT: templates frozen, scalers resized from the bank's network, then trained for a short stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from weit_rl.bank import TemplateBank
from weit_rl.errors import UserError
from weit_rl.initializers import INITIALIZERS, Context, Initializer
from weit_rl.plan import Plan
from weit_rl.resize import resize
from weit_rl.weit import WeiT

NEAR_LR, FAR_LR = 3e-3, 1e-2  # chosen on the tuning sizes; far: a size narrower than any its bank had sampled
FAR_BATCHES = 8


def weit(source: TemplateBank | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """A target of any size from a bank: ``context.recipe.steps`` steps on scalers and free parameters (0 allowed).

    Without a learning rate in the recipe it is 3e-3, or 1e-2 where the start is far from what the bank can do.

    Raises:
        UserError: without a pre-trained bank, or when the bank does not fit the plan.
    """
    if source is None or context.source_net is None:
        raise UserError("init=weit needs a pre-trained bank: give bank=PATH, or make one with weit_rl.pretrain")
    net = network_of_size(source, context.source_net, target, context.plan, context.seed)
    net.bank.requires_grad_(False)
    recipe = context.recipe
    if recipe.lr is None:
        recipe = replace(recipe, lr=FAR_LR if is_far(source, net, context) else NEAR_LR)
    context.fit(net, lambda step: context.loss(net, step), recipe, scaler_groups(net))
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
    check_source(bank, source_net, plan)
    net = WeiT(target, bank, plan, seed)
    own = _own_factors(bank)
    generator = torch.Generator().manual_seed(seed)
    net.load_own(resize(own, plan.layout(source_net), net.layout, bank.constraint.factored, generator))
    for name, buffer in net.net.named_buffers():
        trained = bank.source.get(f"buffer.{name}", buffer)
        if trained.shape != buffer.shape:
            raise UserError(
                f"buffer {name}: {tuple(trained.shape)} in the bank, {tuple(buffer.shape)} here; cannot resize"
            )
        buffer.copy_(trained)
    return net


def check_source(bank: TemplateBank, source_net: nn.Module, plan: Plan) -> None:
    """UserError unless the bank holds the templates and the factors that a network of its own size needs."""
    own = _own_factors(bank)
    for key, wanted in WeiT(source_net, bank, plan).own().items():
        if key not in own:
            raise UserError(f"the bank's network has no {key}, which the model needs; use a bank made for this model")
        if own[key].shape != wanted.shape:
            have, need = ("x".join(map(str, t.shape)) for t in (own[key], wanted))
            raise UserError(f"the bank's {key} is {have}, not {need}; use a bank made for this environment and model")


def _own_factors(bank: TemplateBank) -> dict[str, Tensor]:
    return {name[4:]: tensor for name, tensor in bank.source.items() if name.startswith("own.")}


@torch.no_grad()
def is_far(bank: TemplateBank, net: WeiT, context: Context) -> bool:
    """Whether the target starts at more than twice the loss of the bank's own network, on a few batches.

    So start sizes beyond what was sampled, narrower ones above all: they need larger steps, which would only add
    noise to a start that is good already.
    """
    assert context.source_net is not None
    own = network_of_size(bank, context.source_net, context.source_net, context.plan).materialize()
    losses = [sum(float(context.loss(each, step)) for step in range(FAR_BATCHES)) for each in (net, own)]
    return losses[0] > 2 * losses[1]


def scaler_groups(net: WeiT) -> list[dict]:
    """Scalers and free parameters, not decayed."""
    return [{"params": [*net.scalers.parameters(), *net.free.parameters()], "weight_decay": 0.0}]


INITIALIZERS.add("weit", Initializer(weit, train_lr=1e-3))
