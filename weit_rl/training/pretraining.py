"""Pre-training under the constraint: every step the full network and one drawn sub-network, on the same batch."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from weit_rl.masks import Masks
from weit_rl.resize import resize
from weit_rl.sizes import Size
from weit_rl.weit import WeiT, run_as, skeleton


class MaskedLoss:
    """The loss of a pre-training step; composes once and cuts the sub-network out of the composed weights.

    Args:
        net: the full composed network.
        task: builds networks, yields batches, knows the loss.
        masks: draws the sub-network of a step, or None for a run without masks.
    """

    def __init__(self, net: WeiT, task: Any, masks: Masks | None):
        self.net, self.task, self.masks = net, task, masks
        self._sub_network = cache(self._build)  # one skeleton per sampled size

    def __call__(self, step: int) -> Tensor:
        """Loss of the full network plus that of the step's sub-network (slices, never zeros)."""
        batch, weights = self.task.batch(step), self.net.weights()
        loss = self.task.loss(run_as(self.net.net, self.net.layout, weights), batch)
        size = self.masks.draw(step) if self.masks else None
        if size is None:
            return loss
        net, layout = self._sub_network(size)
        cut = resize(weights, self.net.layout, layout)
        return loss + self.task.loss(run_as(net, layout, cut), batch)

    def _build(self, size: Size) -> tuple[Any, Any]:
        plain = self.task.build(size)
        return skeleton(plain), self.net.plan.layout(plain)
