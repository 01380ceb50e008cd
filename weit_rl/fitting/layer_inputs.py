"""What goes into linear layers, convolutions and LayerNorms of a network and what comes out, one row a token.

A convolution is seen as it computes, with channels first and padded; a token of it is one place of its map.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 2**15  # tokens of a layer that are looked at; of more, evenly spaced ones
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
Before = Callable[[str, Any, Tensor], None]
After = Callable[[str, Any, Tensor, Tensor], None]


class Record:
    """What went into every layer of a network, and what came out, ``(tokens, channels)`` each.

    Args:
        net: the network.
        run: runs it on a sample of the data.

    Attributes:
        inputs: by the module's name.
        outputs: likewise.
    """

    def __init__(self, net: nn.Module, run: Callable[[nn.Module], Any]):
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self._came: dict[str, weakref.ref[Tensor]] = {}  # out of which module
        self._read: set[str] = set()

        def note(name: str, module: nn.Module, x: Tensor, y: Tensor) -> None:
            self.inputs[name], self.outputs[name] = tokens(x, channels(module)), tokens(y, channels(module))
            self._came[name] = weakref.ref(y)
            if isinstance(module, nn.Linear):
                self._read |= {other for other, came in self._came.items() if came() is x}

        names = [
            name for name, module in net.named_modules() if isinstance(module, (nn.Linear, nn.LayerNorm, *CONVOLUTIONS))
        ]
        with watched(net, names, after=note):
            run(net)

    def is_read(self, name: str) -> bool:
        """Whether a linear layer takes the module's output as it is."""
        return name in self._read


@contextmanager
def watched(
    net: nn.Module, names: Iterable[str], before: Before | None = None, after: After | None = None
) -> Iterator[None]:
    """While it lasts, layers are shown to ``before(name, module, input)`` and ``after(name, module, input, output)``.

    Args:
        net: the network.
        names: of the layers.
        before: may change the layer's parameters, which then compute.
        after: sees what they computed.
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
    """Its subclasses may pad and turn what they are given, so it is watched where it computes; returns the undoing."""

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
    """Along which axis the channels of what a module takes and gives lie."""
    return 1 if isinstance(module, CONVOLUTIONS) else getattr(module, "channel_dim", -1)


def tokens(x: Tensor, channel: int = -1) -> Tensor:
    """``(tokens, channels)``: all axes but that of the channels in one, at most :data:`ROWS` of them."""
    x = x.movedim(channel, -1).flatten(0, -2)
    return x if len(x) <= ROWS else x[:: -(-len(x) // ROWS)].clone()  # a view would keep all of them in memory


def patches(module: Any, x: Tensor) -> Tensor:
    """``(tokens, inputs)``: what a token of a layer's output is a weighted sum of, in its weight's order."""
    if isinstance(module, nn.Linear):
        return tokens(x)
    more = (1,) * (2 - len(module.kernel_size))  # of one axis: a map of a single row
    x = x if x.ndim == 4 else x.unsqueeze(2)
    how: dict[str, Any] = {"dilation": (*more, *module.dilation), "stride": (*more, *module.stride)}
    padding = (*(0 for _ in more), *module.padding)
    return tokens(F.unfold(x, (*more, *module.kernel_size), padding=padding, **how), 1)


def can_be_fitted(module: nn.Module) -> bool:
    """Whether a layer's outputs are weighted sums of its :func:`patches`."""
    if isinstance(module, CONVOLUTIONS):
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear
