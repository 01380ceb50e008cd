"""Write graphs as files: ONNX and torch.export. A new format is a function and a line ``FORMATS.add(...)``."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from weit_rl.common.errors import UserError
from weit_rl.deploy.onnx_policy import KEY, Arrays, open_session, step_function
from weit_rl.deploy.registry import FORMATS, ExportFormat, Graph, Step

OPSET = 18  # the oldest that torch's exporter writes, since most runtimes read it
QUANTIZED = ("MatMul", "Conv")


@torch.no_grad()
def export_program(graph: Graph) -> Any:
    """Convert a graph to torch's ``ExportedProgram``; it takes any number of rows unless the graph has a batch."""
    axes = {0: torch.export.Dim("batch")} if graph.batch is None else {}
    shapes = dict.fromkeys(graph.inputs, axes)
    return torch.export.export(graph.module.eval(), (), dict(graph.inputs), dynamic_shapes=shapes)


def write_onnx(graph: Graph) -> bytes:
    """Write an ONNX model with its weights, without the source paths that torch's exporter adds."""
    with require("onnxscript", "onnx"), silence_exporters():
        import onnx_ir
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass

        how: dict[str, Any] = {"dynamo": True, "opset_version": OPSET, "verbose": False}
        how |= {"kwargs": dict(graph.inputs), "output_names": list(graph.module(**graph.inputs))}
        program: Any = torch.onnx.export(export_program(graph), **how)
        ClearMetadataAndDocStringPass()(program.model)
        program.model.metadata_props[KEY] = json.dumps(graph.card, sort_keys=True)
        return bytes(onnx_ir.to_proto(program.model).SerializeToString(deterministic=True))


def run_onnx(data: bytes, threads: int) -> Step:
    """Load an ONNX model into ONNX Runtime, on the CPU."""
    with require("onnxruntime"):
        return step_function(open_session(data, threads))


def quantize_onnx(data: bytes) -> bytes:
    """Quantize the weights of matrix products and convolutions to 8 bits, with one scale per channel.

    Activations are quantized at every call. Weights are unsigned, since their products with unsigned activations cannot
    overflow on processors without VNNI.
    """
    with require("onnxruntime", "onnx"), silence_exporters(), TemporaryDirectory() as folder:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        out = Path(folder) / "quantized.onnx"
        how = {"op_types_to_quantize": list(QUANTIZED), "per_channel": True, "weight_type": QuantType.QUInt8}
        quantize_dynamic(onnx.load_model_from_string(data), out, **how)
        return out.read_bytes()


def write_torch(graph: Graph) -> bytes:
    """Write a file for ``torch.export.load``; its extra file ``weit_rl`` is the card."""
    file = io.BytesIO()
    torch.export.save(export_program(graph), file, extra_files={KEY: json.dumps(graph.card, sort_keys=True)})
    return file.getvalue()


def run_torch(data: bytes, threads: int) -> Step:
    """Load a torch.export file; only for bytes that this process wrote, since such a file may run code."""
    module = torch.export.load(io.BytesIO(data)).module()

    @torch.no_grad()
    def step(inputs: Arrays) -> Arrays:
        with on_threads(threads):
            outputs = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return step


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Use ``count`` CPU threads of torch inside this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def require(*packages: str) -> Iterator[None]:
    """Raise UserError if an import inside this context fails."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"this needs {' and '.join(packages)} ({error}): pip install 'weit_rl[export]'") from error


@contextmanager
def silence_exporters() -> Iterator[None]:
    """Hide warnings and log lines of exporters inside this context; they are for the exporters' developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


FORMATS.add("onnx", ExportFormat(".onnx", write_onnx, run_onnx, quantize_onnx))
FORMATS.add("torch_export", ExportFormat(".pt2", write_torch, run_torch))
