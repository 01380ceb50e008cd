"""HyperCloning (Samragh et al., "Scaling Smart", 2024, arXiv 2409.12903): a wider network of the same function.

``W_big = repeat(W, k_out, k_in) / k_in``; biases and norms are tiled, attention heads multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from weit_rl.common.errors import NotDefined, UserError
from weit_rl.common.seeds import seeded_generator
from weit_rl.core.plan import Plan, Slot
from weit_rl.core.resize import resize
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers._shared.directions import refuse, widths
from weit_rl.initializers.registry import INITIALIZERS, Context, Initializer, TrainedSource

NOISE = 0.1  # relative to a weight's standard deviation; without noise, equal copies would never differ


def hypercloning(
    source: TrainedSource | None, target: nn.Module, context: Context, noise: float = NOISE
) -> Mapping[str, Tensor]:
    """Make a target that is a whole number of times wider and computes the same function; no training.

    Args:
        source: the network that is cloned.
        target: a network of the same depth.
        context: plan and seed of the run.
        noise: standard deviation of the noise on the copies of an input's weights, relative to that of the slot
            (default 0.1). The mean of the noise over the copies is subtracted, so that two copies are ``W/2 + eta`` and
            ``W/2 - eta`` and the function stays. 0 adds no noise.

    Returns:
        The state dict of the target.

    Raises:
        UserError: if ``noise`` is not a number of 0 or more.
    """
    assert source is not None
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise UserError(f"noise={noise}: must be a number, 0 or more")
    plan, old, new = context.plan, context.plan.layout(source.net), context.plan.layout(target)
    cloned = resize(stack_weights(source.net, plan), old, new, share=equal_shares)
    generator = seeded_generator("cloning noise", context.seed)
    noisy = {key: x + noise * cancelling(x, old[key], new[key], generator) for key, x in cloned.items()}
    return state_dict_of(target, noisy, source.net, plan)


def equal_shares(n_old: int, n_new: int, block: int, generator: torch.Generator) -> Tensor:
    """Give every copy the same share."""
    return torch.full((n_new,), n_old / n_new)


def cancelling(x: Tensor, old: Slot, new: Slot, generator: torch.Generator) -> Tensor:
    """Draw noise that sums to zero over the copies of every input; it is zero for an axis without copies."""
    axis = new.rule.fan_in
    if axis is None or old.part[axis] == new.part[axis]:
        return torch.zeros_like(x)
    dim = x.ndim - len(new.part) + axis
    eta = torch.randn(x.shape, generator=generator).to(x) * x.std()
    copies = eta.unflatten(dim, (-1, old.part[axis]))  # the copy of an entry lies one old width further
    return (copies - copies.mean(dim, keepdim=True)).flatten(dim, dim + 1)


def check(source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Raise NotDefined for a target that is narrower, of another depth, or wider by a factor that is not whole."""
    assert source is not None
    refuse("hypercloning", source.net, target, plan, narrower=False, deeper=False, shallower=False)
    old, new = widths(plan.layout(source.net)), widths(plan.layout(target))
    for axis, length in new.items():
        if length % old[axis]:
            raise NotDefined(
                f"init=hypercloning: not defined for a target {length / old[axis]:.4g} times wider than its source "
                f"({axis} {old[axis]} to {length}); choose a whole multiple, or another init"
            )


INITIALIZERS.add("hypercloning", Initializer(hypercloning, train_lr=1e-3, check=check))
