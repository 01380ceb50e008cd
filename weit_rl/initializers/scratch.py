"""The initialisation of the model itself."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource


def scratch(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Return the target as its model initialised it; it needs no source and no training."""
    return target.state_dict()


INITIALIZERS.add("scratch", Initializer(scratch, train_lr=3e-3, needs_source=False))
