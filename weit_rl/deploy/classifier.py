"""Export an image classifier: images as bytes in, logits out, the normaliser inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.deploy.registry import ANY, GRAPHS, Graph, common_facts


class NamedClassifier(nn.Module):
    """A classifier whose output has a name.

    Args:
        net: a plain classifier.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute ``logits`` ``(B, classes)``.

        Args:
            images: ``(B, channels, height, width)`` uint8.

        Raises:
            UserError: for images of another type, whose range is unknown, or of another shape.
        """
        if images.dtype != torch.uint8 or images.ndim != 4:
            have = f"{str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
            raise UserError(f"images: {have}; give uint8 from 0 to 255, (batch, channels, height, width)")
        return {"logits": self.net(images)}


def classifier_graph(net: Any, card: Mapping[str, Any], batch: int | None = None) -> Graph:
    """Make the graph of a classifier; for the arguments see :func:`weit_rl.deploy.policy_step.policy_graph`."""
    shape = (batch or ANY, *net.image_shape)

    def draw(seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {"images": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)}

    file_card = {**common_facts("classifier", net, card, batch), "data": card["data"], "classes": card["classes"]}
    return Graph(NamedClassifier(net), draw(0), draw, batch, file_card)


GRAPHS.add("classification", classifier_graph)
