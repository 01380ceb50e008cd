"""TLEG (arXiv 2312.05614): every block is linear in its place, ``W_l = A + (l / L) B``; any depth reads the same line.

This is the Kronecker form with two templates as large as the weight and the scalers ``(1, l / L)``, l from 0. The paper
trains A and B by distillation. Here they are the least-squares line through the blocks of a trained source, in closed
form, so that every initialiser starts from the same source. All parameters of the blocks are on the line, biases and
norms too. Parameters outside the blocks are copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from weit_rl.initializers._shared.depth_scalers import by_depth, check_same_width, line
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource


def tleg(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Make a target of the source's widths and any depth, on the line through the source's blocks."""
    return by_depth(line, source, target, context)


INITIALIZERS.add("tleg", Initializer(tleg, train_lr=1e-3, check=partial(check_same_width, "tleg")))
