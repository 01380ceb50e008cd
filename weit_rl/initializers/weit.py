"""WeiT: templates frozen, scalers resized from the bank's network, then trained for a short stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from weit_rl.errors import UserError
from weit_rl.initializers import INITIALIZERS, Context, Initializer, Source
from weit_rl.initializers.scaler_starts import with_start
from weit_rl.plan import Plan
from weit_rl.registry import unknown
from weit_rl.resize import resize
from weit_rl.start import check_source, own_factors, start_loss, starts
from weit_rl.weit import WeiT

STAGES = ("auto", "scalers", "all")
NEAR_LR, FAR_LR = 3e-3, 1e-2  # chosen on the tuning sizes; far scalers need larger steps, which near ones suffer from
FREE_LR = 3e-3  # free parameters, like any plain weight, bear no more


def weit(
    source: Source | None, target: nn.Module, context: Context, scalers: str = "trained", stage: str = "auto"
) -> Mapping[str, Tensor]:
    """A target of any size from a bank: ``context.recipe.steps`` steps on scalers and free parameters (0 allowed).

    It begins at the start of lowest loss. Where even that is far, in a size narrower than any its bank had sampled, the
    scalers of a network so small are too few to reach good weights in a short stage: it trains all weights instead.

    Args:
        source: with the bank.
        target: what is wanted.
        context: of the run.
        scalers: what they start from, ``"trained"`` (default); controls: ``"linear"``, ``"identical"``, ``"random"``.
        stage: what is trained: ``"scalers"`` (and free parameters), ``"all"`` weights, or ``"auto"`` (default), which
            is all where the start has more than twice the loss of the bank's own network.

    Raises:
        UserError: for another start or stage.
    """
    assert source is not None and source.bank is not None
    if stage not in STAGES:
        raise unknown("stage", stage, list(STAGES))
    bank = with_start(source.bank, context.plan.layout(source.net), scalers, context.seed)
    nets = starts(bank, source.net, target, context.plan, context.seed)
    net = min(nets, key=lambda net: start_loss(net, context.loss))
    far = start_loss(net, context.loss) > 2 * start_loss(source.net, context.loss)
    module, groups = (net.materialize(), None) if stage == "all" or (stage == "auto" and far) else (net, scaler_groups)
    net.bank.requires_grad_(False)
    lr = context.recipe.lr or (FAR_LR if far and groups else NEAR_LR)
    recipe = replace(context.recipe, lr=lr)
    context.fit(module, lambda step: context.loss(module, step), recipe, groups and groups(net, lr))
    context.spent["steps"] = context.recipe.steps
    return (net.materialize() if groups else module).state_dict()


def check(source: Source | None, target: nn.Module, plan: Plan) -> None:
    """UserError without a pre-trained bank, or for one that does not fit the plan; NotDefined as in ``resize``."""
    if source is None or source.bank is None:
        raise UserError("init=weit needs a pre-trained bank: give bank=PATH, or make one with weit_rl.pretrain")
    check_source(source.bank, source.net, plan)
    resize(own_factors(source.bank), plan.layout(source.net), plan.layout(target), source.bank.constraint.factored)


def scaler_groups(net: WeiT, lr: float) -> list[dict[str, Any]]:
    """Scalers at ``lr`` and free parameters at 3e-3 at most, not decayed; whole weights count as free ones."""
    plain = min(lr, FREE_LR)
    rates = ((net.scalers, lr if net.constraint.factored else plain), (net.free, plain))
    return [{"params": list(part.parameters()), "lr": rate, "weight_decay": 0.0} for part, rate in rates]


INITIALIZERS.add("weit", Initializer(weit, train_lr=1e-3, stage_steps=300, check=check))
