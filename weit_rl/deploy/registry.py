"""What is exported: a network with all it needs around it, as one function of named tensors.

What an output called ``next_X`` gives is the input ``X`` of the next call, so whoever runs a file, in any language,
keeps no history of his own. A task whose networks can be exported adds itself with a line ``GRAPHS.add(...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from weit_rl.common.registry import Registry
from weit_rl.common.sizes import Size
from weit_rl.common.version import VERSION
from weit_rl.deploy.onnx_policy import Arrays

Step = Callable[[Arrays], Arrays]
ANY = 3  # rows of the example of a graph for any number of them


@dataclass(frozen=True)
class Graph:
    """A function to export.

    Attributes:
        module: called with all inputs by name, answers tensors by name.
        inputs: an example of all inputs, as an episode begins; their first axis is the batch.
        draw: ``draw(seed)``, random ones of the inputs that are no memory.
        batch: rows of every call; None for any number.
        card: what the file says of itself.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    draw: Callable[[int], dict[str, Tensor]]
    batch: int | None
    card: Mapping[str, Any]


GRAPHS: Registry[Callable[[Any, Mapping[str, Any], int | None], Graph]] = Registry(
    "task that can be exported", "weit_rl.deploy", "weit_rl.exports"
)


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of its files.
        write: a graph as the file's bytes.
        step: the bytes as a function of named arrays, on so many CPU threads.
        quantize: the bytes of a file with its weights in 8 bits; None where the format has no such thing.
    """

    suffix: str
    write: Callable[[Graph], bytes]
    step: Callable[[bytes, int], Step]
    quantize: Callable[[bytes], bytes] | None = None


FORMATS: Registry[Format] = Registry("format", "weit_rl.deploy", "weit_rl.export_formats")


def facts(kind: str, net: nn.Module, card: Mapping[str, Any], batch: int | None) -> dict[str, Any]:
    """What every file says of itself, from its checkpoint's card."""
    return {
        "format": f"weit_rl {kind} 1",
        "weit_rl": VERSION,
        "model": card["model"],
        "size": str(Size(*card["size"])),
        "parameters": sum(p.numel() for p in net.parameters()),
        "batch": batch,
    }
