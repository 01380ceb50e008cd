"""What a graph can be written as, one function a format; a new one is a function and a line ``FORMATS.add(...)``."""

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
from weit_rl.deploy.onnx_policy import KEY, Arrays, opened, stepper
from weit_rl.deploy.registry import FORMATS, Format, Graph, Step

OPSET = 18  # the oldest that torch's exporter writes: what most runtimes read
QUANTIZED = ("MatMul", "Conv")


@torch.no_grad()
def exported(graph: Graph) -> Any:
    """The graph as torch's ``ExportedProgram``; of any number of rows unless the graph has a batch."""
    axes = {0: torch.export.Dim("batch")} if graph.batch is None else {}
    shapes = dict.fromkeys(graph.inputs, axes)
    return torch.export.export(graph.module.eval(), (), dict(graph.inputs), dynamic_shapes=shapes)


def write_onnx(graph: Graph) -> bytes:
    """An ONNX model with its weights, without the traces of source files that torch's exporter leaves in it."""
    with needs("onnxscript", "onnx"), quiet():
        import onnx_ir
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass

        how: dict[str, Any] = {"dynamo": True, "opset_version": OPSET, "verbose": False}
        how |= {"kwargs": dict(graph.inputs), "output_names": list(graph.module(**graph.inputs))}
        program: Any = torch.onnx.export(exported(graph), **how)
        ClearMetadataAndDocStringPass()(program.model)
        program.model.metadata_props[KEY] = json.dumps(graph.card, sort_keys=True)
        return bytes(onnx_ir.to_proto(program.model).SerializeToString(deterministic=True))


def run_onnx(data: bytes, threads: int) -> Step:
    """ONNX Runtime on the CPU."""
    with needs("onnxruntime"):
        return stepper(opened(data, threads))


def quantize_onnx(data: bytes) -> bytes:
    """Weights of products and convolutions in 8 bits, a scale for each channel; activations quantised at every call.

    Unsigned weights: products of them with unsigned activations cannot overflow on processors without VNNI.
    """
    with needs("onnxruntime", "onnx"), quiet(), TemporaryDirectory() as folder:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        out = Path(folder) / "quantized.onnx"
        how = {"op_types_to_quantize": list(QUANTIZED), "per_channel": True, "weight_type": QuantType.QUInt8}
        quantize_dynamic(onnx.load_model_from_string(data), out, **how)
        return out.read_bytes()


def write_torch(graph: Graph) -> bytes:
    """What ``torch.export.load`` reads; the card is its extra file ``weit_rl``."""
    file = io.BytesIO()
    torch.export.save(exported(graph), file, extra_files={KEY: json.dumps(graph.card, sort_keys=True)})
    return file.getvalue()


def run_torch(data: bytes, threads: int) -> Step:
    """torch itself; only for bytes that were just written, since reading such a file may run code in it."""
    module = torch.export.load(io.BytesIO(data)).module()

    @torch.no_grad()
    def step(inputs: Arrays) -> Arrays:
        with on_threads(threads):
            outputs = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return step


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """So many CPU threads of torch inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def needs(*packages: str) -> Iterator[None]:
    """UserError where a package is missing inside."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"this needs {' and '.join(packages)} ({error}): pip install 'weit_rl[export]'") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say to their own developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


FORMATS.add("onnx", Format(".onnx", write_onnx, run_onnx, quantize_onnx))
FORMATS.add("torch_export", Format(".pt2", write_torch, run_torch))
