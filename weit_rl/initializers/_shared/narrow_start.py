"""Starts that are far from the bank's networks, and narrow networks that are fitted to them instead."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

from torch import nn

from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.network_from_bank import network_of_size, sampled_widths
from weit_rl.core.plan import STREAM, Layout
from weit_rl.fitting.narrow_network import reconstruct
from weit_rl.fitting.width_reduction import bases_to_try
from weit_rl.initializers._shared.directions import depth, widths
from weit_rl.initializers.registry import Context


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
