"""Hard-concrete masks (Louizos et al., "Learning Sparse Neural Networks through L0 Regularization", ICLR 2018).

A mask is a random number in [0, 1] that is 0 and 1 each with a probability above zero, and differentiable in its score
(the paper's log alpha): a logistic draw through a sigmoid of temperature TAU, stretched to [LOW, HIGH] and cut off.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TAU, LOW, HIGH = 2 / 3, -0.1, 1.1


def sample(scores: Tensor, generator: torch.Generator) -> Tensor:
    """One mask for each score."""
    uniform = torch.rand(scores.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    return typical(scores + uniform.logit().to(scores))


def typical(scores: Tensor) -> Tensor:
    """The median mask of each score, without a draw."""
    return (torch.sigmoid(scores / TAU) * (HIGH - LOW) + LOW).clamp(0, 1)


def kept(scores: Tensor) -> Tensor:
    """The probability that a mask is not 0; the sum is the expected L0 norm."""
    return torch.sigmoid(scores - TAU * math.log(-LOW / HIGH))
