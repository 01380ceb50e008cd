"""Data that a source was not trained on: how they are known, and what the source is worth for them.

A head that is fitted in closed form to the data of the pre-training does not beat the trained one. To data of another
agent or task it does: for the banks that ship, it has 0.07 to 0.60 times the loss. So the data themselves say whether
they are new.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import start_loss
from weit_rl.fitting.head import fit_head
from weit_rl.initializers.registry import Context

NEW = 0.8  # share of its loss that a fitted head leaves a network on new data, at most
WORTH = 0.03  # of an untrained network's loss: a smaller gain is that of few data, which a fitted head fits exactly


def is_new_to(net: nn.Module, fresh: nn.Module, context: Context) -> bool:
    """Return True if the run's data are not those that a network was trained on.

    Args:
        net: the network, a plain one.
        fresh: an untrained network.
        context: of the run.
    """
    have, fitted = start_loss(net, context.loss), fitted_loss(net, context)
    return fitted < NEW * have and have - fitted > WORTH * start_loss(fresh, context.loss)


def fitted_loss(net: nn.Module, context: Context) -> float:
    """Return the loss of a network after its head is fitted in closed form; the network stays as it is.

    Args:
        net: a plain network, or a composed one.
        context: of the run.
    """
    plain = net.materialize() if isinstance(net, WeiT) else copy.deepcopy(net)
    loss: Callable[[Any, int], Tensor] = context.loss
    fit_head(plain, context.plan.layout(plain), loss)
    return start_loss(plain, loss)
