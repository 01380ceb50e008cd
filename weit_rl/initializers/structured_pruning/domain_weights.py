"""Dynamic batch loading (Xia et al., "Sheared LLaMA", ICLR 2024): more weight for domains of high excess loss."""

from __future__ import annotations

from torch import Tensor


def domain_weights(weights: Tensor, losses: Tensor, references: Tensor) -> Tensor:
    """Update the proportions of the domains: each grows with the exponential of its excess loss.

    Args:
        weights: the current proportions, ``(domains,)``.
        losses: the current losses of the domains.
        references: the losses to reach; a domain below its reference has no excess loss.
    """
    grown = weights * (losses - references).clamp_min(0).exp()
    return grown / grown.sum()
