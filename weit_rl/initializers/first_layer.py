"""Structured first-layer initialisation by eps-rank (Tang, Yang et al. 2025, arXiv 2507.11962).

The neurons of the first layer are made eps-linearly independent. The eps-rank is the number of eigenvalues above eps of
the Gram matrix of their outputs, and a start with a higher eps-rank trains faster. The method needs no source.

Here the first layer is a linear embedding, without activation, before a LayerNorm. Its eps-rank is at most the number
of inputs plus one. Two choices decide how near it comes to that:

- Directions: the weights are orthonormal sets, one after another, so that all directions of the state count alike.
- Transitions: without biases LayerNorm would remove the length of the state. Biases whose zeros tile the data's range
  keep it, and add the last dimension. Their mean is zero, since LayerNorm removes the mean of all neurons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weit_rl.common.errors import NotDefined
from weit_rl.common.seeds import seeded_generator
from weit_rl.core.plan import Layout, Plan
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

ROLE = "embed"
REACH = 2.0  # transitions lie within two standard deviations of the states, which have mean 0 and deviation 1


def first_layer(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Return the target's own weights with structured embeddings of the same scale; no training."""
    layout, weights = context.plan.layout(target), stack_weights(target, context.plan)
    generator = seeded_generator("first layer", context.seed)
    for weight, bias in first_layers(layout).items():
        own = weights[weight]
        neurons, *inputs = layout[weight].part  # the inputs of a convolution are a whole patch of the picture
        # the same scale as before, so that times and other embeddings added to it keep their share
        scale = own.flatten(3).norm(dim=-1).square().mean().sqrt()
        spread = directions(neurons, math.prod(inputs), generator).to(own)
        weights[weight] = (scale * spread).view(neurons, *inputs).expand_as(own)
        if bias is not None:
            weights[bias] = (scale * transitions(neurons, generator).to(own)).expand_as(weights[bias])
    return state_dict_of(target, weights, target, context.plan)


def directions(neurons: int, inputs: int, generator: torch.Generator) -> Tensor:
    """Draw unit vectors ``(neurons, inputs)`` spread evenly on the sphere: orthonormal bases, one after another."""
    bases = [torch.linalg.qr(torch.randn(inputs, inputs, generator=generator))[0] for _ in range(-(-neurons // inputs))]
    return torch.cat(bases)[:neurons]


def transitions(neurons: int, generator: torch.Generator) -> Tensor:
    """Return biases whose zeros tile the data's range evenly, in random order."""
    middles = (torch.arange(neurons) + 0.5) / neurons
    return (REACH * (2 * middles - 1))[torch.randperm(neurons, generator=generator)]


def eps_rank(gram: Tensor, eps: float) -> int:
    """Count the neurons that are eps-linearly independent.

    Args:
        gram: ``(neurons, neurons)``, the mean over samples of the products of their outputs.
        eps: threshold of the eigenvalues that count.
    """
    return int((torch.linalg.eigvalsh(gram) > eps).sum())


def first_layers(layout: Layout) -> dict[str, str | None]:
    """Find the slots of the embeddings' weights, each with the slot of its bias or None.

    Raises:
        NotDefined: for a network without an embedding.
    """
    slots = [key for key, slot in layout.items() if slot.rule.role == ROLE]
    found = {key: key.removesuffix("weight") + "bias" for key in slots if len(layout[key].part) > 1}
    if not found:
        raise NotDefined("init=first_layer: needs a model with an embedding (role embed); choose another init or model")
    return {weight: bias if bias in layout else None for weight, bias in found.items()}


def check(source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Raise NotDefined for a model without an embedding of its inputs."""
    first_layers(plan.layout(target))


INITIALIZERS.add("first_layer", Initializer(first_layer, train_lr=3e-3, needs_source=False, check=check))
