"""Pre-training under the constraint: every step a few networks of different sizes, on the same batch."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from weit_rl.masks import Masks
from weit_rl.resize import resize
from weit_rl.sizes import Size
from weit_rl.weit import WeiT, run_as, skeleton


class MaskedLoss:
    """The loss of a pre-training step; composes once and cuts the drawn networks out of the composed weights.

    Args:
        net: the full composed network.
        task: builds networks, yields batches, knows the loss.
        masks: draws the networks of a step.
    """

    def __init__(self, net: WeiT, task: Any, masks: Masks):
        self.net, self.task, self.masks = net, task, masks
        self._cut = cache(self._build)  # one skeleton per sampled size

    def __call__(self, step: int) -> Tensor:
        """The sum of the drawn networks' losses (slices, never zeros)."""
        batch, weights = self.task.batch(step), self.net.weights()
        losses = []
        for size in self.masks.draw(step):
            net, layout = self._cut(size)
            losses.append(self.task.loss(run_as(net, layout, resize(weights, self.net.layout, layout)), batch))
        return sum(losses[1:], losses[0])

    def _build(self, size: Size) -> tuple[Any, Any]:
        plain = self.task.build(size)
        return skeleton(plain), self.net.plan.layout(plain)
