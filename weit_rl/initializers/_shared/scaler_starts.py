"""The scalers that a new size starts from: the trained ones, or controls with less information (the ablation of FINE).

Templates and free parameters are the bank's in each of them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weit_rl.common.registry import Registry
from weit_rl.common.seeds import seeded_generator
from weit_rl.core.bank import TemplateBank
from weit_rl.core.plan import Layout
from weit_rl.initializers._shared.depth_scalers import line

Start = Callable[[Tensor, torch.Generator], Tensor]
"""Maps the trained scalers of a slot, ``(layers, split, N, *grid)``, to the scalers to start from."""

STARTS: Registry[Start] = Registry("scalers")


def on_a_line(x: Tensor, generator: torch.Generator) -> Tensor:
    """Project every block onto the least-squares line through all blocks."""
    seen, wanted = line(len(x), len(x))
    return torch.tensordot((wanted @ torch.linalg.pinv(seen)).to(x), x, dims=1)


STARTS.add("trained", lambda x, generator: x)
STARTS.add("linear", on_a_line)
STARTS.add("identical", lambda x, generator: x.mean(0, keepdim=True).expand_as(x))
STARTS.add("random", lambda x, generator: torch.randn(x.shape, generator=generator).to(x) * x.std())


def with_start(bank: TemplateBank, layout: Layout, kind: str, seed: int) -> TemplateBank:
    """Replace the scalers of a bank's own network.

    Args:
        bank: a pre-trained bank; it is not changed.
        layout: of its own network.
        kind: a name in ``STARTS``.
        seed: of random scalers.
    """
    start, generator, source = STARTS.get(kind), seeded_generator("scaler start", seed), dict(bank.source)
    for key, slot in layout.items():
        if slot.rule.tile is not None:
            source[f"own.{key}"] = start(source[f"own.{key}"], generator)
    name = bank.card["constraint"]
    return TemplateBank({role: t.detach() for role, t in bank.templates.items()}, name, bank.card, source)
