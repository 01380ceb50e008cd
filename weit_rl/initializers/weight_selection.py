"""Weight selection (Xu et al., "Initializing Models with Larger Ones", ICLR 2024, arXiv 2311.18823).

A smaller network takes evenly spaced entries of a larger one's weights along every axis, and its first layers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weit_rl.core.plan import FIXED, Plan, Slot
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers._shared.directions import refuse, widths
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

HEAD = "head"


def weight_selection(
    source: TrainedSource | None, target: nn.Module, context: Context, keep_head: bool = True
) -> Mapping[str, Tensor]:
    """Make a narrower or shallower target, without training.

    All weights that share an axis select the same entries of it. Entries of several attention heads are mixed, as in
    the paper.

    Args:
        source: the network that entries are selected from.
        target: a network of the same family.
        context: plan of the run.
        keep_head: whether entries of the output head are selected, too (default True). The paper leaves the target's
            head untrained, since its data sets have other classes. Here source and target predict the same actions, and
            selecting is better.

    Returns:
        The state dict of the target.
    """
    assert source is not None
    plan, layout = context.plan, context.plan.layout(target)
    old, trained, own = widths(plan.layout(source.net)), stack_weights(source.net, plan), stack_weights(target, plan)
    chosen = {axis: evenly_spaced(old[axis], length) for axis, length in widths(layout).items()}
    weights = {key: select(trained[key], slot, chosen) for key, slot in layout.items()}
    heads = [key for key, slot in layout.items() if slot.rule.role == HEAD and own[key].shape != trained[key].shape]
    fresh = {} if keep_head else {key: own[key] for key in heads}
    return state_dict_of(target, weights | fresh, source.net, plan)


def evenly_spaced(n: int, k: int) -> Tensor:
    """Choose ``k`` of ``n`` indices: every ``n / k``-th if that is whole, else evenly from first to last."""
    if n % k == 0:
        return torch.arange(0, n, n // k)
    return torch.linspace(0, n - 1, k, dtype=torch.float64).round().long()


def select(x: Tensor, slot: Slot, chosen: Mapping[str, Tensor]) -> Tensor:
    """Select the first layers of a stacked slot, and the chosen entries along each named axis."""
    x = x[: len(slot.names)]
    for dim, axis in enumerate(slot.rule.axes, start=x.ndim - len(slot.part)):
        if axis != FIXED:
            x = x.index_select(dim, chosen[axis].to(x.device))
    return x


def check(source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Raise NotDefined for a target that is wider or deeper than its source."""
    assert source is not None
    refuse("weight_selection", source.net, target, plan, wider=False, deeper=False)


INITIALIZERS.add("weight_selection", Initializer(weight_selection, train_lr=1e-3, check=check))
