"""A narrower network that does what a wider one does, fitted layer by layer and in closed form.

Cutting channels off leaves every later layer with inputs that it was not trained for. The steps here avoid that:

1. The narrow stream is a projection of the wide one on its principal directions, as in SliceGPT (arXiv 2401.15024).
   Where a channel of the stream has a meaning of its own (a ReLU, a kernel or a scale per channel reads it), the narrow
   stream has some of the channels instead, those that predict most of the others.
2. Heads and hidden channels are those that add most to the stream.
3. Every linear layer is fitted by ridge regression. Its inputs are those of the narrow network as fitted so far, and
   its targets are the outputs of the wide one. Later layers also correct the error that earlier ones left behind.

It takes one forward pass of each network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.core.eval_mode import eval_mode
from weit_rl.core.plan import Plan
from weit_rl.core.slot_tensors import stack, unstack
from weit_rl.fitting.layer_fits import LayerFit, WideNetwork, layer_fits
from weit_rl.fitting.layer_inputs import Record, watched
from weit_rl.fitting.least_squares import principal
from weit_rl.fitting.width_reduction import Basis, Cut, bases_of, has_unread_axis, kept_entries


@torch.no_grad()
def reconstruct(
    source: nn.Module,
    target: nn.Module,
    plan: Plan,
    run: Callable[[nn.Module], Any],
    head_dim: int,
    basis: Basis = principal,
) -> bool:
    """Fit a network to a wider one of the same depth.

    Only linear layers, convolutions and LayerNorms are fitted. All other parameters are projected.

    Args:
        source: the wider network, trained.
        target: a narrower network of the same family and depth; its parameters and buffers are set.
        plan: the plan of both.
        run: runs a network on a sample of the data of thousands of tokens, the same at every call.
        head_dim: channels of an attention head.
        basis: what the narrow stream is made of, ``principal`` (default) or ``selection``.

    Returns:
        False, with nothing changed, if no LayerNorm reads the stream, or no linear layer reads another axis: channels
        that are not observed cannot be chosen well.
    """
    wide, narrow = plan.layout(source), plan.layout(target)
    with eval_mode(source), eval_mode(target):
        seen = Record(source, run)
        bases = bases_of(source, wide, narrow, seen, basis)
        kept = kept_entries(source, wide, narrow, seen, head_dim)
        if bases is None or has_unread_axis(wide, kept):
            return False
        cut = Cut(bases, kept)
        weights = stack({name: p.detach() for name, p in source.named_parameters()}, wide)
        buffers = {name: b for name, b in source.named_buffers() if b.shape == target.get_buffer(name).shape}
        parameters = unstack({key: cut(weights[key], slot) for key, slot in wide.items()}, narrow)
        target.load_state_dict(target.state_dict() | buffers | parameters)
        fit_in_order(target, layer_fits(target, narrow, WideNetwork(seen, cut)), run)
    return True


def fit_in_order(net: nn.Module, fits: dict[str, LayerFit], run: Callable[[nn.Module], Any]) -> None:
    """Run a network once, and fit every layer just before it computes.

    The order is that of the forward pass, so the input of a layer comes from layers that are fitted already. The error
    of the stream goes from each layer to the next: a layer is given the error before it, and returns the error to
    correct after it. It is None until the first layer measures it.

    Args:
        net: the narrow network; its parameters are set.
        fits: how each layer is fitted, by its name.
        run: runs the network on the sample.
    """
    error: Tensor | None = None

    def before(name: str, module: Any, x: Tensor) -> None:
        nonlocal error
        error = fits[name](module, x, error)

    with watched(net, fits, before=before):
        run(net)
