"""Fitting the head of a network to a task before the rest of the network is trained.

The gradients behind an untrained head are meaningless, and they distort the pre-trained features ("Fine-Tuning can
Distort Pretrained Features", Kumar et al., ICLR 2022, arXiv 2202.10054). So the head is fitted first. This works for
any loss, in a few rounds:

1. The direction of a round is a ridge regression on the inputs of the head. Its targets are the negative gradients of
   the loss at the outputs of the head.
2. The length of the step minimises the loss along that direction, by its slope and curvature on other batches.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.core.eval_mode import eval_mode
from weit_rl.core.network_from_bank import start_loss
from weit_rl.core.plan import HEAD, Layout
from weit_rl.fitting.least_squares import ridge

ROUNDS, COMPARED = 3, 2
ROWS, MOST = 2000, 16  # outputs for the direction, from at most 16 batches; a third as many batches give the length
STRENGTH = 0.3  # of the ridge; with less, a head relies on features that a few steps of training change
Loss = Callable[[Any, int], Tensor]


def fit_head(net: nn.Module, layout: Layout, loss: Loss, rounds: int = ROUNDS) -> None:
    """Fit every layer of role ``head`` of a plain network in place to the loss on the first batches.

    The fit starts at zero, where no output is saturated. A head that had a lower loss before the fit is kept.

    Args:
        net: a plain network; only its heads are changed.
        layout: its layout.
        loss: ``loss(net, step)``, the task's loss on the batch of a step.
        rounds: number of rounds for each head (default 3); one runs the network on about six batches of 32 windows.
    """
    weights = [slot for slot in layout.values() if slot.rule.role == HEAD and len(slot.shape) > 1]
    for slot in weights:
        head = net.get_submodule(slot.names[0].removesuffix(".weight"))
        before, value = copy.deepcopy(head.state_dict()), start_loss(net, loss, COMPARED)
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        with eval_mode(net):
            for _ in range(rounds):
                _fit_round(head, net, loss)
        if start_loss(net, loss, COMPARED) > value:
            head.load_state_dict(before)


def _fit_round(head: Any, net: nn.Module, loss: Loss) -> None:
    """Take one step: the direction comes from some batches, its length from others."""
    seen = [_Descent(head, net, loss, 0)]
    while sum(len(one.x) for one in seen) < ROWS and len(seen) < MOST:
        seen.append(_Descent(head, net, loss, len(seen)))
    other = [_Descent(head, net, loss, step) for step in range(len(seen), len(seen) + 1 + len(seen) // 3)]
    x, targets = torch.cat([one.x for one in seen]), torch.cat([one.targets for one in seen])
    weight, bias = ridge(x, targets, head.bias is not None, STRENGTH)
    slopes, curvatures = zip(*(one.along(weight, bias) for one in other), strict=True)
    if sum(slopes) > 0 and sum(curvatures) > 0:  # else the direction does not generalise to other batches
        length = sum(slopes) / sum(curvatures)
        with torch.no_grad():
            head.weight += length * weight
            if head.bias is not None:
                head.bias += length * bias


class _Descent:
    """The direction of steepest descent at the outputs of a head on one batch.

    Args:
        head: a linear layer of the network.
        net: the network.
        loss: ``loss(net, step)``.
        step: of the batch.

    Attributes:
        x: inputs of the head, ``(rows, in)``, without the rows that the loss ignores.
        targets: the loss's negative gradient at the outputs, ``(rows, out)``, times the number of rows.
    """

    def __init__(self, head: nn.Module, net: nn.Module, loss: Loss, step: int):
        ends: dict[str, Tensor] = {}

        def leaf(module: nn.Module, arguments: tuple[Tensor, ...], y: Tensor) -> Tensor:
            ends["x"], ends["y"] = arguments[0].detach(), y.detach().requires_grad_()
            return ends["y"]

        hook = head.register_forward_hook(leaf)
        try:
            value = loss(net, step)
        finally:
            hook.remove()
        self.inputs, self.outputs = ends["x"], ends["y"]
        (self.gradient,) = torch.autograd.grad(value, self.outputs, create_graph=True)
        rows = self.gradient.detach().flatten(0, -2)
        counts = rows.abs().sum(1) > 0
        self.x, self.targets = self.inputs.flatten(0, -2)[counts], -rows[counts] * counts.sum()

    def along(self, weight: Tensor, bias: Tensor) -> tuple[float, float]:
        """Return how fast the loss falls in a direction of the head, and its curvature there."""
        change = self.inputs @ weight.T + bias
        slope = (self.gradient * change).sum()
        (change_of_gradient,) = torch.autograd.grad(slope, self.outputs)
        return -float(slope.detach()), float((change_of_gradient * change).sum())
