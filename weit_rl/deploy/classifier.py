"""A classifier of images as it is exported: bytes of images in, logits out, the normaliser inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.deploy.registry import ANY, GRAPHS, Graph, facts


class Classifier(nn.Module):
    """A network of images with a name for what it answers.

    Args:
        net: a plain classifier.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``(B, channels, height, width)`` uint8 to ``logits`` ``(B, classes)``.

        Raises:
            UserError: for images of another type, whose units nobody could tell, or another shape.
        """
        if images.dtype != torch.uint8 or images.ndim != 4:
            have = f"{str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
            raise UserError(f"images: {have}; give uint8 from 0 to 255, (batch, channels, height, width)")
        return {"logits": self.net(images)}


def classifier_graph(net: Any, card: Mapping[str, Any], batch: int | None = None) -> Graph:
    """A classifier, to export; see :func:`weit_rl.deploy.policy_step.policy_graph` for the arguments."""
    shape = (batch or ANY, *net.image_shape)

    def draw(seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {"images": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)}

    told = {**facts("classifier", net, card, batch), "data": card["data"], "classes": card["classes"]}
    return Graph(Classifier(net), draw(0), draw, batch, told)


GRAPHS.add("classification", classifier_graph)
