"""Hard-concrete masks (Louizos et al., "Learning Sparse Neural Networks through L0 Regularization", ICLR 2018).

A mask is a random number in [0, 1], differentiable in its score (the paper's log alpha). It is exactly 0, or exactly 1,
with a probability above zero. A logistic draw goes through a sigmoid of temperature TAU. The result is stretched to
[LOW, HIGH] and clipped to [0, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TAU, LOW, HIGH = 2 / 3, -0.1, 1.1


def sample(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one mask for each score."""
    uniform = torch.rand(scores.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    return typical(scores + uniform.logit().to(scores))


def typical(scores: Tensor) -> Tensor:
    """Return the median mask of each score, without drawing."""
    return (torch.sigmoid(scores / TAU) * (HIGH - LOW) + LOW).clamp(0, 1)


def probability_kept(scores: Tensor) -> Tensor:
    """Return the probability that a mask is not 0; the sum is the expected L0 norm."""
    return torch.sigmoid(scores - TAU * math.log(-LOW / HIGH))
