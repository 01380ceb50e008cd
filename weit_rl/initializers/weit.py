"""WeiT: a network of any size from a template bank.

The templates stay frozen. The scalers are resized from the bank's own network and trained for a short stage.

A target narrower than every size that the bank sampled is the exception. Cut scalers are a bad start there, and they
are too few to reach good weights in a short stage. So the start is fitted to the activations of the bank's networks,
and the stage trains all weights.
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
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.network_from_bank import (
    candidate_starts,
    check_source,
    network_of_size,
    own_factors,
    sampled_widths,
    start_loss,
)
from weit_rl.core.plan import STREAM, Layout, Plan
from weit_rl.core.resize import resize
from weit_rl.fitting.narrow_network import reconstruct
from weit_rl.fitting.width_reduction import bases_to_try
from weit_rl.initializers._shared.directions import depth, widths
from weit_rl.initializers._shared.new_body import fit_composed_head, with_fitted_head
from weit_rl.initializers._shared.scaler_starts import with_start
from weit_rl.initializers._shared.stage_rates import FAR_LR, FREE_LR, scaler_groups, slower_if_short, slower_if_wide
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

STAGES, NARROW = ("auto", "scalers", "all"), ("fitted", "cut")


def weit(
    source: TrainedSource | None,
    target: nn.Module,
    context: Context,
    scalers: str = "trained",
    stage: str = "auto",
    narrow: str = "fitted",
) -> Mapping[str, Tensor]:
    """Make a target of any size from a bank, and train it for ``context.recipe.steps`` steps (0 is allowed).

    Args:
        source: the bank's own network, with its bank.
        target: a network of the size wanted.
        context: plan, loss, data and training loop of the run.
        scalers: the scalers that the bank's network starts with: ``"trained"`` (default), or one of the controls
            ``"linear"``, ``"identical"`` and ``"random"``.
        stage: what is trained: ``"scalers"`` (and free parameters), ``"all"`` weights, or ``"auto"`` (default): all
            weights if the resized start is far (:func:`is_far`), else scalers.
        narrow: how a far start becomes narrow if all weights are trained: ``"fitted"`` (default) to activations, or
            ``"cut"``, as resized.

    Returns:
        The state dict of the target.

    Raises:
        UserError: if ``scalers``, ``stage`` or ``narrow`` is another word.
    """
    assert source is not None and source.bank is not None
    for name, value, choices in (("stage", stage, STAGES), ("narrow", narrow, NARROW)):
        if value not in choices:
            raise unknown_name_error(name, value, list(choices))
    loss, layout = partial(start_loss, loss=context.loss), context.plan.layout(target)

    # The bank's own network: a new body needs a head first, and a control replaces the scalers.
    source = with_fitted_head(source, context)
    assert source.bank is not None
    bank = with_start(source.bank, context.plan.layout(source.net), scalers, context.seed)

    # The start: of all ways to resize the bank's network, the one with the lowest loss.
    net = min(candidate_starts(bank, source.net, target, context.plan, context.seed), key=loss)
    net.bank.requires_grad_(False)
    far = is_far(net, source.net, target, loss, narrower(bank, layout))

    # What is trained: all weights, or scalers and free parameters.
    train_all = stage == "all" or (stage == "auto" and far)

    # Where a far start need not be composed of templates, networks fitted to activations compete with it.
    compete = train_all and far and narrow == "fitted"
    fitted = fitted_networks(bank, source.net, target, context) if compete else []

    # The head of a new body, now behind the resized network.
    new_head = bool(bank.card.get("untrained_body"))
    if new_head:
        fit_composed_head(net, context.loss)

    # The rate, then the training.
    factor = slower_if_wide(bank, layout)
    if new_head or fitted:
        factor *= slower_if_short(context.recipe.steps)
    if train_all:
        start = min((net.materialize(), *fitted), key=loss)
        return _train(start, context, factor * FREE_LR).state_dict()
    lr = factor * (FAR_LR if far or bank.card.get("new_body") else context.near_lr)
    _train(net, context, lr, scaler_groups(net, context.recipe.lr or lr))
    return net.materialize().state_dict()


def is_far(net: nn.Module, best: nn.Module, fresh: nn.Module, loss: Callable[[nn.Module], float], narrow: bool) -> bool:
    """Return True if a start has more than twice the loss of the bank's own network.

    A narrow start is also far if its loss is nearer to that of a fresh network. Cross-entropy over many classes needs
    this second test: there the loss at chance is less than twice the loss of a good network.

    Args:
        net: the start.
        best: the bank's own network.
        fresh: an untrained network of the target's size.
        loss: the loss of a network.
        narrow: whether the target is narrower than every size that the bank sampled.
    """
    have, least = loss(net), loss(best)
    return have > 2 * least or (narrow and have - least > loss(fresh) - have)


def narrower(bank: TemplateBank, layout: Layout) -> bool:
    """Return True if a target is narrower than every size that the bank sampled."""
    return min(sampled_widths(bank), default=0) > widths(layout).get(STREAM, math.inf)


def fitted_networks(bank: TemplateBank, source_net: nn.Module, target: nn.Module, context: Context) -> list[nn.Module]:
    """Fit the target to the bank's network of its depth and of the next wider sampled width.

    Returns:
        One network for every basis that its family may use. The list is empty if no wider width was sampled, or if the
        context can neither build networks nor run them.
    """
    plan, layout = context.plan, context.plan.layout(target)
    wider = [width for width in sampled_widths(bank) if width > widths(layout).get(STREAM, math.inf)]
    if context.build is None or context.run is None or not wider:
        return []
    wide = context.build(Size(wider[0], depth(layout), context.head_dim))
    wide = network_of_size(bank, source_net, wide, plan, context.seed).materialize()
    found = [(copy.deepcopy(target), basis) for basis in bases_to_try(target, layout)]
    return [net for net, basis in found if reconstruct(wide, net, plan, context.run, context.head_dim, basis)]


def _train(module: nn.Module, context: Context, lr: float, groups: list[dict[str, Any]] | None = None) -> nn.Module:
    """Train a network for the stage's steps; a rate that the recipe asks for comes before ``lr``."""
    recipe = replace(context.recipe, lr=context.recipe.lr or lr)
    context.fit(module, lambda step: context.loss(module, step), recipe, groups)
    context.spent["steps"] = recipe.steps
    return module


def check(source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Refuse a source that no target can be made from.

    Raises:
        UserError: without a pre-trained bank, or for one that does not fit the plan.
        NotDefined: if ``resize`` cannot make the target's size.
    """
    if source is None or source.bank is None:
        raise UserError("init=weit needs a pre-trained bank: give bank=PATH, or make one of a source by init=svd_bank")
    check_source(source.bank, source.net, plan)
    resize(own_factors(source.bank), plan.layout(source.net), plan.layout(target), source.bank.constraint.factored)


INITIALIZERS.add("weit", Initializer(weit, train_lr=1e-3, stage_steps=300, check=check))
