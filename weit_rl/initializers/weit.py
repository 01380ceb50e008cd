"""WeiT: templates frozen, scalers resized from the bank's network, then trained for a short stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from weit_rl.bank import TemplateBank
from weit_rl.errors import UserError
from weit_rl.initializers import INITIALIZERS, Context, Initializer
from weit_rl.start import network_of_size, start_loss, starts
from weit_rl.weit import WeiT

NEAR_LR, FAR_LR = 3e-3, 1e-2  # chosen on the tuning sizes; far: a size narrower than any its bank had sampled


def weit(source: TemplateBank | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """A target of any size from a bank: ``context.recipe.steps`` steps on scalers and free parameters (0 allowed).

    It begins at the start of lowest loss. Without a learning rate in the recipe it is 3e-3, or 1e-2 where that start
    has more than twice the loss of the bank's own network: so begin sizes beyond what was sampled, narrower ones above
    all; they need larger steps, which would only add noise to a start that is good already.

    Raises:
        UserError: without a pre-trained bank, or when the bank does not fit the plan.
    """
    if source is None or context.source_net is None:
        raise UserError("init=weit needs a pre-trained bank: give bank=PATH, or make one with weit_rl.pretrain")
    nets = starts(source, context.source_net, target, context.plan, context.seed)
    losses = [start_loss(net, context.loss) for net in nets]
    net, recipe = nets[losses.index(min(losses))], context.recipe
    if recipe.lr is None:
        own = network_of_size(source, context.source_net, context.source_net, context.plan).materialize()
        recipe = replace(recipe, lr=FAR_LR if min(losses) > 2 * start_loss(own, context.loss) else NEAR_LR)
    net.bank.requires_grad_(False)
    context.fit(net, lambda step: context.loss(net, step), recipe, scaler_groups(net))
    context.spent["steps"] = context.recipe.steps
    return net.materialize().state_dict()


def scaler_groups(net: WeiT) -> list[dict]:
    """Scalers and free parameters, not decayed."""
    return [{"params": [*net.scalers.parameters(), *net.free.parameters()], "weight_decay": 0.0}]


INITIALIZERS.add("weit", Initializer(weit, train_lr=1e-3))
