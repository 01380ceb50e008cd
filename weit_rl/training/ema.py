"""Average the weights of a network in training (Polyak and Juditsky 1992) with torch's ``AveragedModel``."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn


class AveragedNetwork(nn.Module):
    """A network in training together with the exponential moving average of its weights.

    The loop trains and saves this module in place of the network. Its state dict holds both, so a resumed stage goes on
    with the same average. The training code calls :meth:`update` after every step.

    After n steps the decay is ``(1 + n) / (10 + n)``, but at most ``decay``, as in timm and diffusers. Otherwise the
    average of a short stage would mostly hold its first steps.

    Args:
        net: the network that is trained.
        decay: share of the average that a step keeps, from 0 to less than 1.

    Attributes:
        net: the network that is trained.
    """

    def __init__(self, net: nn.Module, decay: float):
        super().__init__()

        def blend(averaged: PARAM_LIST, current: PARAM_LIST, steps: Tensor | int) -> None:
            get_ema_multi_avg_fn(min(decay, (1 + int(steps)) / (10 + int(steps))))(averaged, current, steps)

        self.net, self._averaged = net, AveragedModel(net, multi_avg_fn=blend).requires_grad_(False)

    @property
    def average(self) -> nn.Module:
        """A separate network with the averaged weights and the buffers of the last step."""
        return self._averaged.module

    def update(self) -> None:
        """Add the weights of a step to the average; those of the first step are copied."""
        self._averaged.update_parameters(self.net)
