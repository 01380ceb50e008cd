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
        distill: weight, 0 to 1, of matching the full network's outputs in the sub-network's loss (the rest is the
            task's loss). The full network has averaged the data's noise away, so its outputs teach better.
    """

    def __init__(self, net: WeiT, task: Any, masks: Masks | None, distill: float = 0.0):
        self.net, self.task, self.masks, self.distill = net, task, masks, distill
        self._sub_network = cache(self._build)  # one skeleton per sampled size

    def __call__(self, step: int) -> Tensor:
        """Loss of the full network plus that of the step's sub-network (slices, never zeros)."""
        batch, weights = self.task.batch(step), self.net.weights()
        outputs = self.task.outputs(run_as(self.net.net, self.net.layout, weights), batch)
        loss = self.task.loss_of(outputs, batch)
        size = self.masks.draw(step) if self.masks else None
        if size is None:
            return loss
        net, layout = self._sub_network(size)
        sub_outputs = self.task.outputs(run_as(net, layout, resize(weights, self.net.layout, layout)), batch)
        own, taught = self.task.loss_of(sub_outputs, batch), self.task.distance(sub_outputs, outputs.detach(), batch)
        return loss + (1 - self.distill) * own + self.distill * taught

    def _build(self, size: Size) -> tuple[Any, Any]:
        plain = self.task.build(size)
        return skeleton(plain), self.net.plan.layout(plain)
