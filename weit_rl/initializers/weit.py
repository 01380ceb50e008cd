"""WeiT: a network of any size from a template bank.

The templates stay frozen. The scalers are resized from the bank's own network and trained for a short stage.

There are two exceptions, in which the stage trains all weights:

- The target is narrower than every size that the bank sampled. Cut scalers are a bad start there, and they are too few
  to reach good weights in a short stage. The start is fitted to the activations of the bank's networks.
- The bank was not trained on the run's data. If it is worth less than a fresh network there, that is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import (
    candidate_starts,
    check_source,
    own_factors,
    start_loss,
)
from weit_rl.core.plan import Plan
from weit_rl.core.resize import resize
from weit_rl.fitting.head import fit_head
from weit_rl.initializers._shared.narrow_start import fitted_networks, is_far, narrower
from weit_rl.initializers._shared.new_body import fit_composed_head, with_fitted_head
from weit_rl.initializers._shared.new_data import fitted_loss, is_new_to
from weit_rl.initializers._shared.scaler_starts import with_start
from weit_rl.initializers._shared.stage_rates import FAR_LR, FREE_LR, scaler_groups, slower_if_short, slower_if_wide
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

STAGES, NARROW, HEADS = ("auto", "scalers", "all"), ("fitted", "cut"), ("auto", "fitted", "kept")


def weit(
    source: TrainedSource | None,
    target: nn.Module,
    context: Context,
    scalers: str = "trained",
    stage: str = "auto",
    narrow: str = "fitted",
    head: str = "auto",
) -> Mapping[str, Tensor]:
    """Make a target of any size from a bank, and train it for ``context.recipe.steps`` steps (0 is allowed).

    Args:
        source: the bank's own network, with its bank.
        target: a network of the size wanted.
        context: plan, loss, data and training loop of the run.
        scalers: the scalers that the bank's network starts with: ``"trained"`` (default), or one of the controls
            ``"linear"``, ``"identical"`` and ``"random"``.
        stage: what is trained: ``"scalers"`` (and free parameters), ``"all"`` weights, or ``"auto"`` (default).
            ``"auto"`` trains scalers, but all weights if the resized start is far (:func:`is_far`) or the bank was not
            trained on these data (:func:`is_new_to`). A fresh network is trained if such a bank is worth less than it.
        narrow: how a far start becomes narrow if all weights are trained: ``"fitted"`` (default) to activations, or
            ``"cut"``, as resized.
        head: whether the bank's head is ``"kept"``, or ``"fitted"`` to the data in closed form first. ``"auto"``
            (default) fits that of a body that the bank does not know, and that of a new task if no step follows.

    Returns:
        The state dict of the target.

    Raises:
        UserError: if ``scalers``, ``stage``, ``narrow`` or ``head`` is another word.
    """
    assert source is not None and source.bank is not None
    for name, value, choices in (("stage", stage, STAGES), ("narrow", narrow, NARROW), ("head", head, HEADS)):
        if value not in choices:
            raise unknown_name_error(name, value, list(choices))
    layout, new_body = context.plan.layout(target), bool(source.bank.card.get("untrained_body"))
    trains = context.recipe.steps > 0  # without a step a user gets what the bank knows
    decides = stage == "auto" and not new_body and (trains or source.new_task)
    new_data = decides and is_new_to(source.net, target, context)

    # The bank's own network: a new body needs a head first, and a control replaces the scalers.
    untrained_head = new_body or (source.new_task and not trains)
    fits_head = head == "fitted" or (head == "auto" and untrained_head)
    source = with_fitted_head(source, context) if fits_head else source
    assert source.bank is not None
    bank = with_start(source.bank, context.plan.layout(source.net), scalers, context.seed)

    # The start: of all ways to resize the bank's network, the one with the lowest loss.
    loss = cache(partial(fitted_loss, context=context) if new_data else partial(start_loss, loss=context.loss))
    net = min(candidate_starts(bank, source.net, target, context.plan, context.seed), key=loss)
    net.bank.requires_grad_(False)
    far = is_far(net, source.net, target, loss, narrower(bank, layout))

    # What is trained: all weights, or scalers and free parameters.
    train_all = stage == "all" or (stage == "auto" and (far or new_data))

    # Where a far start need not be composed of templates, networks fitted to activations compete with it.
    compete = train_all and far and narrow == "fitted"
    fitted = fitted_networks(bank, source.net, target, context) if compete else []

    # The rate, then the training.
    factor = slower_if_wide(bank, layout)
    if fits_head or (fitted and not new_data):
        factor *= slower_if_short(context.recipe.steps)
    if train_all:
        start = min((net, *fitted), key=loss)
        start = better_for_new_data(start, target, loss, context) if new_data and trains else start
        start = start.materialize() if isinstance(start, WeiT) else start
        if fits_head:  # once more, now behind the resized network
            fit_head(start, layout, context.loss)
        return _train(start, context, factor * (min(FREE_LR, context.near_lr) if new_data else FREE_LR)).state_dict()
    if fits_head:
        fit_composed_head(net, context.loss)
    lr = factor * (FAR_LR if far or bank.card.get("new_body") else context.near_lr)
    _train(net, context, lr, scaler_groups(net, context.recipe.lr or lr))
    return net.materialize().state_dict()


def better_for_new_data(
    start: nn.Module, fresh: nn.Module, loss: Callable[[nn.Module], float], context: Context
) -> nn.Module:
    """Choose what is trained on data that are new to the bank, a start from it or a fresh network; remark on it."""
    ours, other = loss(start), loss(fresh)
    chosen, what = (
        (start, "the source's network") if ours <= other else (fresh, "a fresh network, as init=scratch does")
    )
    context.remark(
        f"the source was not trained on these data; with a fitted head its network has a loss of {ours:.3g}, a fresh "
        f"network {other:.3g}; trains all weights of {what}"
    )
    return chosen


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
