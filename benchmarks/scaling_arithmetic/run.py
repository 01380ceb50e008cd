"""Count what large banks would take, on networks without memory behind their tensors (device meta).

    python -m benchmarks.scaling_arithmetic.run > benchmarks/scaling_arithmetic/README.md

Nothing is trained and nothing is timed. Numbers have four bytes, and AdamW keeps two numbers for each parameter.
"""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._shared.script import make_parser, run_script
from weit_rl import Size, TemplateBank
from weit_rl.core.counts import compose_flops, count_numbers
from weit_rl.models import MODELS
from weit_rl.models.shipped_banks import own_bank
from weit_rl.training.flops import Flops

PIXELS, CLASSES, IMAGES = 224, 1000, 1_281_167  # ImageNet-1k's training images
EPOCHS, BATCH = 300, 1024
RANK, TILE, HEAD = 64, 16, 64
SIZES = [Size(384, 12, HEAD), Size(768, 12, HEAD), Size(1024, 24, HEAD), Size(2048, 24, HEAD), Size(4096, 48, HEAD)]
WIDTHS, DEPTHS = (1 / 2, 1), (1 / 3, 1 / 2, 2 / 3, 1)  # shares of the full size, as in weit_rl.pretrain's defaults
FLOAT, ADAM = 4, 2  # bytes of a number; numbers that AdamW keeps beside each
MODEL = MODELS.get("vit")


def build(size: Size) -> nn.Module:
    """Build a vision transformer whose tensors have shapes only."""
    with torch.device("meta"):
        return MODEL.build(size, image_size=PIXELS, channels=3, classes=CLASSES)


def image_cost(size: Size) -> tuple[float, int]:
    """Count the FLOPs of one image, forward and backward, and the bytes kept for the backward pass."""
    net = build(size)
    weights = {tensor.untyped_storage()._cdata for tensor in itertools.chain(net.parameters(), net.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
            alive.append(storage)  # so that no other tensor gets the same address
        return tensor

    alive: list[Any] = []
    image = torch.zeros(1, 3, PIXELS, PIXELS, dtype=torch.uint8, device="meta")

    def step() -> None:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = net(image).sum()
        loss.backward()

    flops = Flops()
    with flops.counted():
        step()
    return flops.total, sum(kept.values())


def row(size: Size) -> dict[str, float]:
    """Count everything that the table shows of one full size."""
    layout = MODEL.plan(TILE).layout(build(size))
    count = count_numbers(layout, RANK)
    factors = count["scalers"] + count["templates"] + count["free"]
    grid = [Size(int(w * size.width), round(d * size.depth), HEAD) for w in WIDTHS for d in DEPTHS]
    flops, kept = image_cost(size)
    mean = statistics.mean(image_cost(one)[0] for one in grid)
    composing = 3 * compose_flops(layout, RANK)  # forward, and the gradients of scalers and of templates
    step = 2 * BATCH * mean + composing
    return {
        "parameters": count["dense"],
        "scalers": count["scalers"],
        "templates": count["templates"],
        "free": count["free"],
        "bank": FLOAT * factors,
        "checkpoint": FLOAT * (1 + ADAM) * factors,
        "state": FLOAT * (2 + ADAM) * factors,
        "composed": 2 * FLOAT * count["composed"],
        "dense": FLOAT * (2 + ADAM) * count["dense"],
        "kept": kept,
        "flops": flops,
        "composing": composing,
        "share": composing / step,
        "exchanged": FLOAT * factors,
        "exchanged_dense": FLOAT * count["dense"],
        "total": step * EPOCHS * IMAGES / BATCH,
    }


BYTES = "kMGTPE"
COLUMNS = {
    "parameters of the full network": ("parameters", ""),
    "scalers": ("scalers", ""),
    "templates": ("templates", ""),
    "free parameters": ("free", ""),
    "bank file": ("bank", "B"),
    "checkpoint with AdamW's state": ("checkpoint", "B"),
    "memory of factors, gradients, AdamW": ("state", "B"),
    "memory of composed weights and their gradients": ("composed", "B"),
    "a dense network's weights, gradients, AdamW": ("dense", "B"),
    "kept for the backward, an image": ("kept", "B"),
    "FLOPs of an image, forward and backward": ("flops", ""),
    "FLOPs of composing, a step": ("composing", ""),
    f"composing, of a step of {BATCH} images": ("share", "%"),
    "gradients to reduce over processes, a step": ("exchanged", "B"),
    "the same for a dense network": ("exchanged_dense", "B"),
    f"FLOPs of {EPOCHS} epochs of ImageNet": ("total", ""),
}


def shown(value: float, unit: str) -> str:
    """Format a number with three digits and its unit."""
    if unit == "%":
        return f"{100 * value:.2f} %"
    if unit == "B":
        power = int(math.log10(value) // 3)
        return f"{value / 1000**power:.3g} {BYTES[power - 1]}B"
    return f"{value:,.0f}" if value < 1e10 else f"{value:.2e}"


def main() -> None:
    make_parser(__doc__).parse_args()
    rows = {size: row(size) for size in SIZES}
    bank = TemplateBank.load(own_bank("HalfCheetah", "dt"))
    print("# Arithmetic for large banks\n\n    python -m benchmarks.scaling_arithmetic.run\n")
    print(
        f"Vision transformers at {PIXELS} pixels, patches of 16, {CLASSES} classes; N = {RANK}, tile {TILE}, float32."
    )
    print("A step trains two networks of a grid: 1/2 and all of the width, 1/3, 1/2, 2/3 and all of the depth.\n")
    print(f"| | {' | '.join(map(str, rows))} |\n|{'---|' * (len(rows) + 1)}")
    for title, (key, unit) in COLUMNS.items():
        print(f"| {title} | {' | '.join(shown(one[key], unit) for one in rows.values())} |")
    spent = bank.card["flops"]
    print(f"| the same, in pre-trainings of the bank that ships ({spent:.1e} FLOPs) | ", end="")
    print(" | ".join(f"{one['total'] / spent:,.0f}" for one in rows.values()) + " |\n")
    print(f"The training images of ImageNet-1k as bytes at {PIXELS} pixels: {shown(IMAGES * 3 * PIXELS**2, 'B')}.")


if __name__ == "__main__":
    run_script(main)
