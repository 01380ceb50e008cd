"""Structured first-layer initialisation by eps-rank (Tang, Yang et al. 2025, arXiv 2507.11962).

The neurons of the first layer are made eps-linearly independent: the eigenvalues of the Gram matrix of their outputs
that exceed eps are counted, and a start with more of them trains faster. It resizes nothing and needs no source.

Here the first layer is an embedding: linear, no activation, LayerNorm after it. Then the count has a bound, the inputs
plus one, and two things decide how much of it is reached. Directions: orthonormal sets of them one after another, as
even as directions can be, so that no direction of the state is seen less than another. Transitions: without them
LayerNorm would drop the length of the state; neurons whose zeros tile the data's range keep it, and add the one more
dimension. Their mean is zero, since LayerNorm takes away what all neurons share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weit_rl.common.errors import NotDefined
from weit_rl.common.seeds import seeded
from weit_rl.core.plan import Layout, Plan
from weit_rl.core.stacked_weights import state_of, weights_of
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, Source

ROLE = "embed"
REACH = 2.0  # states have mean 0 and standard deviation 1: transitions lie within two of them


def first_layer(source: Source | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """The target's own weights with structured embeddings at the scale of its own; no steps."""
    layout, weights = context.plan.layout(target), weights_of(target, context.plan)
    generator = seeded("first layer", context.seed)
    for weight, bias in first_layers(layout).items():
        own = weights[weight]
        neurons, *inputs = layout[weight].part  # of a convolution a whole patch of the picture
        scale = (
            own.flatten(3).norm(dim=-1).square().mean().sqrt()
        )  # what is added to it, such as times, keeps its share
        spread = directions(neurons, math.prod(inputs), generator).to(own)
        weights[weight] = (scale * spread).view(neurons, *inputs).expand_as(own)
        if bias is not None:
            weights[bias] = (scale * transitions(neurons, generator).to(own)).expand_as(weights[bias])
    return state_of(target, weights, target, context.plan)


def directions(neurons: int, inputs: int, generator: torch.Generator) -> Tensor:
    """Unit vectors ``(neurons, inputs)`` spread evenly on the sphere: drawn orthonormal bases, one after another."""
    bases = [torch.linalg.qr(torch.randn(inputs, inputs, generator=generator))[0] for _ in range(-(-neurons // inputs))]
    return torch.cat(bases)[:neurons]


def transitions(neurons: int, generator: torch.Generator) -> Tensor:
    """Offsets whose zeros tile the data's range evenly, in drawn order: neighbouring neurons differ in both."""
    middles = (torch.arange(neurons) + 0.5) / neurons
    return (REACH * (2 * middles - 1))[torch.randperm(neurons, generator=generator)]


def eps_rank(gram: Tensor, eps: float) -> int:
    """How many neurons are eps-linearly independent.

    Args:
        gram: ``(neurons, neurons)``, the inner products of their outputs over the samples divided by their number.
        eps: an eigenvalue above it counts.
    """
    return int((torch.linalg.eigvalsh(gram) > eps).sum())


def first_layers(layout: Layout) -> dict[str, str | None]:
    """The slots of the embeddings' weights, each with its bias, if it has one.

    Raises:
        NotDefined: for a network that has none.
    """
    slots = [key for key, slot in layout.items() if slot.rule.role == ROLE]
    found = {key: key.removesuffix("weight") + "bias" for key in slots if len(layout[key].part) > 1}
    if not found:
        raise NotDefined("init=first_layer: needs a model with an embedding (role embed); choose another init or model")
    return {weight: bias if bias in layout else None for weight, bias in found.items()}


def check(source: Source | None, target: nn.Module, plan: Plan) -> None:
    """NotDefined for a model without an embedding of its inputs."""
    first_layers(plan.layout(target))


INITIALIZERS.add("first_layer", Initializer(first_layer, train_lr=3e-3, needs_source=False, check=check))
