"""A network's weights as stacked slots, and back: what every method that resizes weights begins and ends with."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from weit_rl.core.plan import Plan, stack, unstack


def weights_of(net: nn.Module, plan: Plan) -> dict[str, Tensor]:
    """Every parameter, stacked by slot: ``(layers, split, *part)``, detached."""
    return stack({name: parameter.detach() for name, parameter in net.named_parameters()}, plan.layout(net))


def state_of(target: nn.Module, weights: Mapping[str, Tensor], source: nn.Module, plan: Plan) -> dict[str, Tensor]:
    """The target's state dict with ``weights`` (stacked slots of its own shapes) and the source's buffers.

    A buffer holds what goes with the weights (the normaliser); one of another shape stays the target's own.
    """
    buffers = dict(target.named_buffers())
    trained = {name: b for name, b in source.named_buffers() if name in buffers and b.shape == buffers[name].shape}
    return {**target.state_dict(), **trained, **unstack(weights, plan.layout(target))}
