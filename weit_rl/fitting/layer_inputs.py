"""The inputs and outputs of linear layers, convolutions and LayerNorms of a network, one row per token.

A convolution is observed where it computes, with channels first and padded. Its tokens are the positions of its map.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 2**15  # most tokens of a layer that are kept, evenly spaced
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
Before = Callable[[str, Any, Tensor], None]
After = Callable[[str, Any, Tensor, Tensor], None]


class Record:
    """The inputs and outputs of every layer of a network, ``(tokens, channels)`` each.

    Args:
        net: the network.
        run: runs it on a sample of the data.

    Attributes:
        inputs: by the module's name, in the order of the forward pass.
        outputs: likewise.
    """

    def __init__(self, net: nn.Module, run: Callable[[nn.Module], Any]):
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self._results: dict[str, weakref.ref[Tensor]] = {}  # the output tensor of each module
        self._read: set[str] = set()

        def note(name: str, module: nn.Module, x: Tensor, y: Tensor) -> None:
            self.inputs[name], self.outputs[name] = tokens(x, channels(module)), tokens(y, channels(module))
            self._results[name] = weakref.ref(y)
            if isinstance(module, nn.Linear):
                self._read |= {other for other, result in self._results.items() if result() is x}

        names = [
            name for name, module in net.named_modules() if isinstance(module, (nn.Linear, nn.LayerNorm, *CONVOLUTIONS))
        ]
        with watched(net, names, after=note):
            run(net)

    def is_read(self, name: str) -> bool:
        """Return True if a linear layer takes the module's output as its input, unchanged."""
        return name in self._read


@contextmanager
def watched(
    net: nn.Module, names: Iterable[str], before: Before | None = None, after: After | None = None
) -> Iterator[None]:
    """Call back before and after layers of a network compute, as long as the context lasts.

    Args:
        net: the network.
        names: of the layers.
        before: ``before(name, module, input)``; it may change the parameters that the layer then computes with.
        after: ``after(name, module, input, output)``.
    """
    undo: list[Callable[[], Any]] = []
    for name in names:
        module = net.get_submodule(name)
        if isinstance(module, CONVOLUTIONS):
            undo.append(_watch_convolution(name, module, before, after))
            continue
        if before:
            hook = module.register_forward_pre_hook(lambda m, a, name=name: before(name, m, a[0]))
            undo.append(hook.remove)
        if after:
            hook = module.register_forward_hook(lambda m, a, y, name=name: after(name, m, a[0], y))
            undo.append(hook.remove)
    try:
        yield
    finally:
        for one in undo:
            one()


def _watch_convolution(name: str, module: Any, before: Before | None, after: After | None) -> Callable[[], Any]:
    """Watch a convolution where it computes, since subclasses may pad and move axes first; return the undo function."""

    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if before:
            before(name, module, x)
        y: Tensor = type(module)._conv_forward(module, x, module.weight, module.bias)
        if after:
            after(name, module, x, y)
        return y

    module._conv_forward = forward
    return lambda: module.__delattr__("_conv_forward")


def channels(module: nn.Module) -> int:
    """Return the axis of the channels in the inputs and outputs of a module."""
    return 1 if isinstance(module, CONVOLUTIONS) else getattr(module, "channel_dim", -1)


def tokens(x: Tensor, channel: int = -1) -> Tensor:
    """Flatten all axes but that of the channels; ``(tokens, channels)``, at most :data:`ROWS` tokens."""
    x = x.movedim(channel, -1).flatten(0, -2)
    return x if len(x) <= ROWS else x[:: -(-len(x) // ROWS)].clone()  # a view would keep all tokens in memory


def patches(module: Any, x: Tensor) -> Tensor:
    """Return the inputs of every output token, ``(tokens, inputs)``, in the order of the layer's weight."""
    if isinstance(module, nn.Linear):
        return tokens(x)
    more = (1,) * (2 - len(module.kernel_size))  # a one-dimensional map becomes a map of one row
    x = x if x.ndim == 4 else x.unsqueeze(2)
    how: dict[str, Any] = {"dilation": (*more, *module.dilation), "stride": (*more, *module.stride)}
    padding = (*(0 for _ in more), *module.padding)
    return tokens(F.unfold(x, (*more, *module.kernel_size), padding=padding, **how), 1)


def can_be_fitted(module: nn.Module) -> bool:
    """Return True if a layer's outputs are weighted sums of its :func:`patches`."""
    if isinstance(module, CONVOLUTIONS):
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear
