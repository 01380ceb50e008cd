"""Count what networks on images cost at some sizes, on torch's meta device, which computes shapes only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.sizes import Size
from weit_rl.core.counts import count_numbers
from weit_rl.data.images import Images
from weit_rl.data.images.parts import ImagesInMemory
from weit_rl.models.registry import command_options
from weit_rl.options.choices import check_numbers
from weit_rl.options.image_run_options import DescribeOptions
from weit_rl.tasks import task_entry_of
from weit_rl.tasks.image_options import KINDS
from weit_rl.training.flops import flop_counter
from weit_rl.training.progress import print_table
from weit_rl.workflows.run_setup import check_model

NUMBERS_PER_PARAMETER = 4  # the parameter, its gradient, and AdamW's two moments
BYTES = 4  # per number
COUNTS = ("image_size", "channels", "classes")


def describe(cfg: DescribeOptions) -> dict[str, Any]:
    """Print a table of the sizes that the config names.

    Returns:
        ``sizes``: for each name ``parameters``, ``scalers``, ``templates``, ``free``, ``flops`` (per image, forward),
        ``step_flops`` (per image, forward and backward), ``activations`` (bytes per image that the backward pass keeps,
        with attention weights, which fused attention does not keep) and ``memory`` (bytes of a training step with a
        batch).

    Raises:
        UserError: for an impossible size, model or number.
    """
    task_entry_of(cfg).prepare(cfg)
    check_numbers(cfg)
    check_model(cfg)
    for name in COUNTS:
        if cfg[name] < 1:
            raise UserError(f"{name}={cfg[name]}: must be 1 or more")
    found = {text: facts_of(task_on_meta(cfg), Size.parse(text), cfg.rank, cfg.batch_size) for text in cfg.sizes}
    print_table(
        f"{cfg.model}, {cfg.channels} x {cfg.image_size} x {cfg.image_size}, batches of {cfg.batch_size}",
        [_row(text, facts) for text, facts in found.items()],
    )
    return {"sizes": found}


def task_on_meta(cfg: DescribeOptions) -> Any:
    """Make the task of a config with one black image, on the meta device."""
    if cfg.task not in KINDS:
        raise unknown_name_error("task", cfg.task, list(KINDS))
    make, config = KINDS[cfg.task]
    options = {"model": cfg.model, "tile": cfg.tile, "model_options": command_options(cfg)}
    pixels = np.zeros((1, cfg.channels, cfg.image_size, cfg.image_size), np.uint8)
    part = ImagesInMemory(pixels, np.zeros(1, np.int64))
    images = Images("black", tuple(map(str, range(cfg.classes))), part, part, part, "none")
    return make(images, config(**options, batch_size=1, device="meta"))


def facts_of(task: Any, size: Size, rank: int, batch_size: int) -> dict[str, Any]:
    """Count the numbers of one size, see :func:`describe`."""
    with torch.device("meta"):
        net = task.build(size)
    counts = count_numbers(task.plan.layout(net), rank)
    forward, step, kept = cost_of(net, lambda: task.loss(net, task.batch(0)))
    return {
        "size": str(size),
        "parameters": counts["dense"],
        **{name: counts[name] for name in ("scalers", "templates", "free")},
        "flops": forward,
        "step_flops": step,
        "activations": kept,
        "memory": BYTES * NUMBERS_PER_PARAMETER * counts["dense"] + batch_size * kept,
    }


def cost_of(net: nn.Module, loss: Callable[[], Tensor]) -> tuple[int, int, int]:
    """Count FLOPs of the forward pass, FLOPs of the whole step, and bytes of activations that the backward pass keeps.

    Args:
        net: the network.
        loss: computes the loss of a batch.
    """
    own = {p.untyped_storage()._cdata for p in net.parameters()}
    kept: dict[int, Any] = {}  # the storages themselves, since a freed one's address would be used again

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with flop_counter() as counted:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            value = loss()
        forward = counted.get_total_flops()
        value.backward()
    return forward, counted.get_total_flops(), sum(storage.nbytes() for storage in kept.values())


def _row(text: str, facts: dict[str, Any]) -> dict[str, str]:
    units = {"parameters": 1e6, "scalers": 1e6, "free": 1e6, "flops": 1e9, "step_flops": 1e9, "memory": 2**30}
    shown = {name: f"{facts[name] / unit:,.3g}" for name, unit in units.items()}
    titles = ("parameters (M)", "scalers (M)", "free (M)", "GFLOPs", "GFLOPs, step", "memory (GiB)")
    size = text if text == facts["size"] else f"{text} {facts['size']}"
    return {"size": size} | dict(zip(titles, shown.values(), strict=True))
