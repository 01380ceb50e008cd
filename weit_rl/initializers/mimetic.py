"""Mimetic initialisation of self-attention (Trockman & Kolter, ICML 2023, arXiv 2305.09828).

Untrained attention weights get products like those of trained ones: ``W_q W_k^T`` near the identity, ``W_v W_o`` near
minus the identity. The method needs no source; all other weights stay the target's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weit_rl.common.errors import NotDefined
from weit_rl.common.seeds import seeded_generator
from weit_rl.core.plan import Layout, Plan
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

QUERY_KEY = (0.7, 0.7)  # scale of the noise, and of the identity
VALUE_OUT = (0.4, -0.4)


def mimetic(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Return the target's own weights with mimetic attention; no training.

    Every head has its own product of queries and keys, approximated at rank ``head_dim``. Values and outputs are one
    product over all heads, since the heads are summed into the stream.
    """
    weights = stack_weights(target, context.plan)
    qkv, out = attention_slots(context.plan.layout(target))
    generator = seeded_generator("mimetic", context.seed)
    layers, _, channels, width = weights[qkv].shape
    for layer in range(layers):
        heads = [factors(width, context.head_dim, *QUERY_KEY, generator) for _ in range(channels // context.head_dim)]
        queries, keys = (torch.cat(parts, dim=1).T for parts in zip(*heads, strict=True))
        values, outputs = factors(width, channels, *VALUE_OUT, generator)
        weights[qkv][layer] = torch.stack([queries, keys, values.T])
        weights[out][layer, 0] = outputs
    return state_dict_of(target, weights, target, context.plan)


def factors(width: int, rank: int, noise: float, diagonal: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw matrices A and B ``(width, rank)``, ``A B^T`` nearest to ``noise Z + diagonal I``, Var(Z) = 1 / width."""
    wanted = noise * torch.randn(width, width, generator=generator) / width**0.5 + diagonal * torch.eye(width)
    left, values, right = torch.linalg.svd(wanted)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, right[:rank].T * root


def attention_slots(layout: Layout) -> tuple[str, str]:
    """Find the slot of the fused queries, keys and values, and that of the outputs.

    Raises:
        NotDefined: for a network without exactly one of each.
    """
    qkv = [
        key for key, slot in layout.items() if slot.rule.role == "qkv" and slot.rule.split == 3 and len(slot.part) == 2
    ]
    out = [key for key, slot in layout.items() if slot.rule.role == "out" and len(slot.part) == 2]
    if len(qkv) != 1 or len(out) != 1:
        raise NotDefined(
            "init=mimetic: needs a model with one attention (roles qkv and out); choose another init or model"
        )
    return qkv[0], out[0]


def check(source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Raise NotDefined for a model without attention."""
    attention_slots(plan.layout(target))


INITIALIZERS.add("mimetic", Initializer(mimetic, train_lr=3e-3, needs_source=False, check=check))
