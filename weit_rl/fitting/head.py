"""The head of a network fitted to a task by itself, before anything else of the network is trained.

A head that knows nothing hands on gradients that say nothing, and what was pre-trained is bent to suit it ("Fine-Tuning
can Distort Pretrained Features", Kumar et al., ICLR 2022, arXiv 2202.10054). So it comes first, whatever the loss is: a
round goes where the ridge regression of minus the loss's gradient at the head's outputs on the head's inputs points, as
far as the loss's slope and curvature in this direction say.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.core.composed_network import eval_mode
from weit_rl.core.network_from_bank import start_loss
from weit_rl.core.plan import HEAD, Layout
from weit_rl.fitting.least_squares import ridge

ROUNDS, COMPARED = 3, 2
ROWS, MOST = 2000, 16  # outputs to learn from, of at most so many batches; a third as many again say how far to go
STRENGTH = 0.3  # of the ridge: a head of less leans on features that a few steps of training move
Loss = Callable[[Any, int], Tensor]


def fit_head(net: nn.Module, layout: Layout, loss: Loss, rounds: int = ROUNDS) -> None:
    """Fit every layer of role ``head`` of a plain network in place to the loss on the first batches.

    It begins at zero, where no output is saturated. What was there stays if it does better.

    Args:
        net: a plain network; nothing but its heads is changed.
        layout: of it.
        loss: ``loss(net, step)``, the task's loss on the batch of a step.
        rounds: of each head (default 3); one runs the network on about six batches of 32 windows.
    """
    weights = [slot for slot in layout.values() if slot.rule.role == HEAD and len(slot.shape) > 1]
    for slot in weights:
        head = net.get_submodule(slot.names[0].removesuffix(".weight"))
        before, value = copy.deepcopy(head.state_dict()), start_loss(net, loss, COMPARED)
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        with eval_mode(net):
            for _ in range(rounds):
                improve(head, net, loss)
        if start_loss(net, loss, COMPARED) > value:
            head.load_state_dict(before)


def improve(head: Any, net: nn.Module, loss: Loss) -> None:
    """One round: a direction from some batches, and how far to go in it from others, which it does not know."""
    seen = [Falling(head, net, loss, 0)]
    while sum(len(one.x) for one in seen) < ROWS and len(seen) < MOST:
        seen.append(Falling(head, net, loss, len(seen)))
    other = [Falling(head, net, loss, step) for step in range(len(seen), len(seen) + 1 + len(seen) // 3)]
    x, fall = torch.cat([one.x for one in seen]), torch.cat([one.fall for one in seen])
    weight, bias = ridge(x, fall, head.bias is not None, STRENGTH)
    slopes, bends = zip(*(one.along(weight, bias) for one in other), strict=True)
    if sum(slopes) > 0 and sum(bends) > 0:  # else what was learned does not hold elsewhere
        length = sum(slopes) / sum(bends)
        with torch.no_grad():
            head.weight += length * weight
            if head.bias is not None:
                head.bias += length * bias


class Falling:
    """Where the outputs of a head on a batch should go.

    Args:
        head: a linear layer of the network.
        net: the network.
        loss: of a step.
        step: of the batch.

    Attributes:
        x: inputs of the head, ``(rows, in)``; rows that the loss ignores are left out.
        fall: minus the loss's gradient at its outputs, ``(rows, out)``, times the number of rows.
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
        self.x, self.fall = self.inputs.flatten(0, -2)[counts], -rows[counts] * counts.sum()

    def along(self, weight: Tensor, bias: Tensor) -> tuple[float, float]:
        """How fast the loss falls in a direction of the head, and how much less so a unit further on."""
        change = self.inputs @ weight.T + bias
        slope = (self.gradient * change).sum()
        (turned,) = torch.autograd.grad(slope, self.outputs)
        return -float(slope.detach()), float((turned * change).sum())
