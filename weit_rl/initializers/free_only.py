"""A control for WeiT: the source's free parameters in a network whose composed weights are untrained.

WeiT also transfers what is not composed (norms, biases, embeddings, the head). This control measures how much of a good
start comes from these alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from weit_rl.common.seeds import seeded_generator
from weit_rl.core.resize import resize
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource


def free_only(source: TrainedSource | None, target: nn.Module, context: Context) -> Mapping[str, Tensor]:
    """Return the target's own composed weights with the source's free parameters, resized as in WeiT."""
    assert source is not None
    plan = context.plan
    free = {key: slot for key, slot in plan.layout(target).items() if slot.rule.tile is None}
    trained = resize(
        stack_weights(source.net, plan),
        plan.layout(source.net),
        free,
        generator=seeded_generator("shares", context.seed),
    )
    return state_dict_of(target, {**stack_weights(target, plan), **trained}, source.net, plan)


INITIALIZERS.add("free_only", Initializer(free_only, train_lr=3e-3))  # most of its weights are untrained
