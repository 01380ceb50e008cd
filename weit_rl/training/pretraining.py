"""Pre-training under the constraint: every step a few networks of different sizes, on the same batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.composed_network import WeiT
from weit_rl.core.resize import resize
from weit_rl.core.size_sampler import Masks
from weit_rl.core.skeleton import run_as, skeleton


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


class Shared(nn.Module):
    """The composed networks of one body or several, which share all that is not bound to one of them.

    Args:
        nets: one for each body, of one bank and size.
        bound: how the names begin of the parameters that each keeps for itself.
    """

    def __init__(self, nets: Sequence[WeiT], bound: tuple[str, ...]):
        super().__init__()
        self.nets = nn.ModuleList(nets)
        for net in nets[1:]:
            for key in net.scalers:
                net.scalers.tie(key, nets[0].scalers[key])
            for key in net.free:
                if not key.startswith(bound):
                    net.free.tie(key, nets[0].free[key])

    def own(self) -> list[nn.Parameter]:
        """Scalers and free parameters of all, each once."""
        every = (p for net in self.nets for p in (*net.scalers.parameters(), *net.free.parameters()))  # type: ignore[union-attr]
        return list({id(p): p for p in every}.values())


class InTurn:
    """The losses of several bodies, one a step, so that all are trained equally often."""

    def __init__(self, losses: Sequence[MaskedLoss]):
        self.losses = losses

    def __call__(self, step: int) -> Tensor:
        """The loss of the body whose turn it is."""
        return self.losses[step % len(self.losses)](step)
