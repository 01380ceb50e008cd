"""WeiT: templates frozen, scalers resized from the bank's network, then trained for a short stage.

In a size narrower than any that its bank had sampled, cut scalers are a bad start, and too few to reach good weights in
a short stage. There the start is fitted to the activations of the bank's networks, and the stage trains all weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import (
    check_source,
    network_of_size,
    own_factors,
    sampled_widths,
    start_loss,
    starts,
)
from weit_rl.core.plan import STREAM, Layout, Plan
from weit_rl.core.resize import resize
from weit_rl.fitting.narrow_network import reconstruct
from weit_rl.fitting.width_reduction import bases_to_try
from weit_rl.initializers._shared.directions import depth, widths
from weit_rl.initializers.new_body import acquainted, fit_composed, slowed_if_short
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, Source
from weit_rl.initializers.scaler_starts import with_start

STAGES, NARROW = ("auto", "scalers", "all"), ("fitted", "cut")
FAR_LR = 1e-2  # chosen on the tuning sizes; far scalers need larger steps, which near ones suffer from
FREE_LR = 3e-3  # free parameters, like any plain weight, bear no more


def weit(
    source: Source | None,
    target: nn.Module,
    context: Context,
    scalers: str = "trained",
    stage: str = "auto",
    narrow: str = "fitted",
) -> Mapping[str, Tensor]:
    """A target of any size from a bank: ``context.recipe.steps`` steps on scalers and free parameters (0 allowed).

    It begins at the start of lowest loss, of those that ``resize`` makes, and, where these are far, of those that
    ``reconstruct`` makes (see :func:`is_far`). The head of a body that the bank does not know is fitted first.

    Args:
        source: with the bank.
        target: what is wanted.
        context: of the run.
        scalers: what they start from, ``"trained"`` (default); controls: ``"linear"``, ``"identical"``, ``"random"``.
        stage: what is trained: ``"scalers"`` (and free parameters), ``"all"`` weights, or ``"auto"`` (default), which
            is all where the resized start is far.
        narrow: where that is so and all weights are trained: ``"fitted"`` (default) or ``"cut"``, as resized.

    Raises:
        UserError: for another start, stage or way to become narrow.
    """
    assert source is not None and source.bank is not None
    for name, value, choices in (("stage", stage, STAGES), ("narrow", narrow, NARROW)):
        if value not in choices:
            raise unknown(name, value, list(choices))
    source = acquainted(source, context)
    assert source.bank is not None
    bank = with_start(source.bank, context.plan.layout(source.net), scalers, context.seed)
    loss = partial(start_loss, loss=context.loss)
    net = min(starts(bank, source.net, target, context.plan, context.seed), key=loss)
    net.bank.requires_grad_(False)
    far = is_far(net, source.net, target, loss, narrower(bank, context.plan.layout(target)))
    slower = slowed(bank, context.plan.layout(target))
    whole, head = stage == "all" or (stage == "auto" and far), bank.card.get("untrained_body")
    more = fitted(bank, source.net, target, context) if whole and far and narrow == "fitted" else []
    if head:
        fit_composed(net, context.loss)
    if head or more:
        slower *= slowed_if_short(context.recipe.steps)
    if whole:
        return _trained(min((net.materialize(), *more), key=loss), context, slower * FREE_LR).state_dict()
    lr = slower * (FAR_LR if far or bank.card.get("new_body") else context.near_lr)
    _trained(net, context, lr, scaler_groups(net, context.recipe.lr or lr))
    return net.materialize().state_dict()


def is_far(net: nn.Module, best: nn.Module, fresh: nn.Module, loss: Callable[[nn.Module], float], narrow: bool) -> bool:
    """Whether a start has more than twice the loss of the bank's own network.

    A ``narrow`` one is far, too, if it is nearer to a fresh network: what is hard to learn, such as many classes by
    cross-entropy, has a loss at chance that is less than twice that of a good network.
    """
    have, least = loss(net), loss(best)
    return have > 2 * least or (narrow and have - least > loss(fresh) - have)


def narrower(bank: TemplateBank, layout: Layout) -> bool:
    """Whether a target is narrower than any size that the bank had sampled."""
    return min(sampled_widths(bank), default=0) > widths(layout).get(STREAM, math.inf)


def fitted(bank: TemplateBank, source_net: nn.Module, target: nn.Module, context: Context) -> list[nn.Module]:
    """The target fitted to the bank's network of its depth and the next wider sampled width, if there is one."""
    plan, layout = context.plan, context.plan.layout(target)
    wider = [width for width in sampled_widths(bank) if width > widths(layout).get(STREAM, math.inf)]
    if context.build is None or context.run is None or not wider:
        return []
    wide = context.build(Size(wider[0], depth(layout), context.head_dim))
    wide = network_of_size(bank, source_net, wide, plan, context.seed).materialize()
    found = [(copy.deepcopy(target), basis) for basis in bases_to_try(target, layout)]
    return [net for net, basis in found if reconstruct(wide, net, plan, context.run, context.head_dim, basis)]


def slowed(bank: TemplateBank, target: Layout) -> float:
    """What the rate is multiplied with: less than 1 in a target wider than any size that the bank had sampled.

    A step of Adam moves every number by the rate, so it moves a sum over k times as many inputs k times as far
    (Tensor Programs V, arXiv 2203.03466).
    """
    return min(1.0, max(sampled_widths(bank), default=math.inf) / widths(target).get(STREAM, 1))


def _trained(module: nn.Module, context: Context, lr: float, groups: list[dict[str, Any]] | None = None) -> nn.Module:
    recipe = replace(context.recipe, lr=context.recipe.lr or lr)
    context.fit(module, lambda step: context.loss(module, step), recipe, groups)
    context.spent["steps"] = recipe.steps
    return module


def check(source: Source | None, target: nn.Module, plan: Plan) -> None:
    """UserError without a pre-trained bank, or for one that does not fit the plan; NotDefined as in ``resize``."""
    if source is None or source.bank is None:
        raise UserError("init=weit needs a pre-trained bank: give bank=PATH, or make one of a source by init=svd_bank")
    check_source(source.bank, source.net, plan)
    resize(own_factors(source.bank), plan.layout(source.net), plan.layout(target), source.bank.constraint.factored)


def scaler_groups(net: WeiT, lr: float) -> list[dict[str, Any]]:
    """Scalers at ``lr`` and free parameters at 3e-3 at most, not decayed; whole weights count as free ones."""
    plain = min(lr, FREE_LR)
    rates = ((net.scalers, lr if net.constraint.factored else plain), (net.free, plain))
    return [{"params": list(part.parameters()), "lr": rate, "weight_decay": 0.0} for part, rate in rates]


INITIALIZERS.add("weit", Initializer(weit, train_lr=1e-3, stage_steps=300, check=check))
