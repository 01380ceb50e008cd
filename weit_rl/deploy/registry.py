"""Register what can be exported (graphs) and the file formats.

A graph is a network with everything around it, as one function of named tensors. The output ``next_X`` of a call is the
input ``X`` of the next call, so that callers in any language need no history. A task whose networks can be exported
adds a line ``GRAPHS.add(...)``.
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
ANY = 3  # rows of the example inputs of a graph for any number of rows


@dataclass(frozen=True)
class Graph:
    """A function to export.

    Attributes:
        module: computes outputs by name from inputs by name.
        inputs: example inputs, as at the start of an episode; the first axis is the batch.
        draw: ``draw(seed)`` draws random values of the inputs that are no memory.
        batch: rows per call; None for any number.
        card: the file's metadata.
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
class ExportFormat:
    """A file format.

    Attributes:
        suffix: suffix of its files.
        write: converts a graph to the bytes of a file.
        step: ``step(data, threads)`` converts the bytes to a function of named arrays.
        quantize: converts the bytes to a file with 8-bit weights; None if the format cannot.
    """

    suffix: str
    write: Callable[[Graph], bytes]
    step: Callable[[bytes, int], Step]
    quantize: Callable[[bytes], bytes] | None = None


FORMATS: Registry[ExportFormat] = Registry("format", "weit_rl.deploy", "weit_rl.export_formats")


def common_facts(kind: str, net: nn.Module, card: Mapping[str, Any], batch: int | None) -> dict[str, Any]:
    """Collect the part of the card that all files have, from a checkpoint's card."""
    return {
        "format": f"weit_rl {kind} 1",
        "weit_rl": VERSION,
        "model": card["model"],
        "size": str(Size(*card["size"])),
        "parameters": sum(p.numel() for p in net.parameters()),
        "batch": batch,
    }
