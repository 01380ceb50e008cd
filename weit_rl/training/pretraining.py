"""Compute the losses of pre-training: every step runs a few networks of different sizes on the same batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from torch import Tensor, nn

from weit_rl.common.sizes import Size
from weit_rl.core.composed_network import WeiT
from weit_rl.core.resize import resize
from weit_rl.core.size_sampler import SizeSampler
from weit_rl.core.skeleton import bind_weights, skeleton


class MaskedLoss:
    """The loss of a pre-training step: compose the weights once, cut smaller networks out of them, add their losses.

    Args:
        net: the composed network of full size.
        task: builds networks, draws batches, computes the loss.
        masks: draws the sizes of a step.
    """

    def __init__(self, net: WeiT, task: Any, masks: SizeSampler):
        self.net, self.task, self.masks = net, task, masks
        self._cut = cache(self._build)  # one skeleton per sampled size

    def __call__(self, step: int) -> Tensor:
        """Sum the losses of the networks that are drawn for a step; their weights are slices, not zeroed copies."""
        batch, weights = self.task.batch(step), self.net.weights()
        losses = []
        for size in self.masks.draw(step):
            net, layout = self._cut(size)
            losses.append(self.task.loss(bind_weights(net, layout, resize(weights, self.net.layout, layout)), batch))
        return sum(losses[1:], losses[0])

    def _build(self, size: Size) -> tuple[Any, Any]:
        plain = self.task.build(size)
        return skeleton(plain), self.net.plan.layout(plain)


class SharedNetworks(nn.Module):
    """Composed networks of one or several bodies that share every parameter that is not bound to a body.

    Args:
        nets: one network per body, all of the same bank and size.
        bound: prefixes of the names of parameters that each network has for itself.
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
        """List the scalers and free parameters of all networks, each once."""
        every = (p for net in self.nets for p in (*net.scalers.parameters(), *net.free.parameters()))  # type: ignore[union-attr]
        return list({id(p): p for p in every}.values())


class AlternatingLoss:
    """The losses of several bodies, one body per step in turn."""

    def __init__(self, losses: Sequence[MaskedLoss]):
        self.losses = losses

    def __call__(self, step: int) -> Tensor:
        """Compute the loss of the body whose turn the step is."""
        return self.losses[step % len(self.losses)](step)
