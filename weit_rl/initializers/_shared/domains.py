"""Dynamic batch loading (Xia et al., "Sheared LLaMA", ICLR 2024): more of the domains that lag behind."""

from __future__ import annotations

from torch import Tensor


def domain_weights(weights: Tensor, losses: Tensor, references: Tensor) -> Tensor:
    """New proportions of the domains: each grows with the exponential of its excess loss.

    Args:
        weights: the present proportions, ``(domains,)``.
        losses: of the domains now.
        references: the losses they should have; one that is below its own has no excess.
    """
    grown = weights * (losses - references).clamp_min(0).exp()
    return grown / grown.sum()
