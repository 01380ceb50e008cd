"""Learning rates of the stage that trains scalers, or all weights, of a network made from a bank."""

from __future__ import annotations

import math
from typing import Any

from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import sampled_widths
from weit_rl.core.plan import STREAM, Layout
from weit_rl.initializers._shared.directions import widths

FAR_LR = 1e-2  # of scalers far from their best values; too large for scalers near them (chosen on the tuning sizes)
FREE_LR = 3e-3  # of free parameters and plain weights, which tolerate no larger rate
SHORT = 100  # steps of a stage; a shorter one cannot recover from the large first steps that undo a fit


def slower_if_wide(bank: TemplateBank, target: Layout) -> float:
    """Return a factor on the rate, less than 1 for a target wider than any size that the bank sampled.

    A step of Adam changes every number by the rate. A sum over k times as many inputs then changes k times as much
    (Tensor Programs V, arXiv 2203.03466).
    """
    return min(1.0, max(sampled_widths(bank), default=math.inf) / widths(target).get(STREAM, 1))


def slower_if_short(steps: int) -> float:
    """Return a factor on the rate for a stage that follows a closed-form fit, less than 1 for fewer than 100 steps."""
    return min(1.0, steps / SHORT) ** 1.5


def scaler_groups(net: WeiT, lr: float) -> list[dict[str, Any]]:
    """Group the parameters of a composed network for its optimiser: scalers at ``lr``, free ones at 3e-3 at most.

    Nothing is decayed. Whole weights, which a bank without templates has, count as free parameters.
    """
    plain = min(lr, FREE_LR)
    rates = ((net.scalers, lr if net.constraint.factored else plain), (net.free, plain))
    return [{"params": list(part.parameters()), "lr": rate, "weight_decay": 0.0} for part, rate in rates]
