"""The running average of the weights of a network in training (Polyak and Juditsky 1992), by torch's own module."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn


class Averaged(nn.Module):
    """A network in training and, beside it, the exponential moving average of its weights.

    The loop trains and saves this module in the network's place: both are in its state dict, so a stage that is resumed
    goes on with the same average. Whoever trains calls :meth:`update` after every step.

    The decay rises with the steps, ``(1 + n) / (10 + n)`` up to its value, as timm and diffusers have it: an average of
    a short stage would be of its first steps otherwise.

    Args:
        net: what is trained.
        decay: share of the average that a step keeps, from 0 to less than 1.

    Attributes:
        net: what is trained.
    """

    def __init__(self, net: nn.Module, decay: float):
        super().__init__()

        def blend(averaged: PARAM_LIST, current: PARAM_LIST, steps: Tensor | int) -> None:
            get_ema_multi_avg_fn(min(decay, (1 + int(steps)) / (10 + int(steps))))(averaged, current, steps)

        self.net, self._averaged = net, AveragedModel(net, multi_avg_fn=blend).requires_grad_(False)

    @property
    def average(self) -> nn.Module:
        """A network of its own with the averaged weights, and the buffers of the last step."""
        return self._averaged.module

    def update(self) -> None:
        """Take the weights of a step in; the first are taken as they are."""
        self._averaged.update_parameters(self.net)
