"""The weights of a plain network as stacked slots, and the way back; every method that resizes weights uses both."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from weit_rl.core.plan import Plan
from weit_rl.core.slot_tensors import stack, unstack


def stack_weights(net: nn.Module, plan: Plan) -> dict[str, Tensor]:
    """Return every parameter, stacked by slot, ``(layers, split, *part)``, detached."""
    return stack({name: parameter.detach() for name, parameter in net.named_parameters()}, plan.layout(net))


def state_dict_of(target: nn.Module, weights: Mapping[str, Tensor], source: nn.Module, plan: Plan) -> dict[str, Tensor]:
    """Return the target's state dict with new weights and the source's buffers.

    Buffers hold what goes with the weights, such as the normaliser. A buffer of another shape stays the target's own.

    Args:
        target: a plain network.
        weights: stacked slots of the target's shapes.
        source: the network whose buffers are used.
        plan: of both networks.
    """
    buffers = dict(target.named_buffers())
    trained = {name: b for name, b in source.named_buffers() if name in buffers and b.shape == buffers[name].shape}
    return {**target.state_dict(), **trained, **unstack(weights, plan.layout(target))}
