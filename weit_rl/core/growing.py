"""Growth of a network during training: its weights and its optimiser's moments at another size.

Growing keeps the function. Widths grow by integer ratios as in ``resize``. Depth grows by blocks that add nothing to
the stream at first: of the blocks that ``resize`` makes from one block, the first stays as it was. In the others, the
weights that write into the stream are zero, so they learn from the first step on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.seeds import seeded_generator
from weit_rl.common.sizes import HEAD_DIM, Size
from weit_rl.core.plan import STREAM, Layout, Plan, Slot
from weit_rl.core.resize import layer_map, resize
from weit_rl.core.slot_tensors import stack, unstack

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Segment:
    """The steps of a training at one size: from ``first`` up to, but not including, ``last``."""

    first: int
    last: int
    size: Size

    @property
    def name(self) -> str:
        """Return the name of the segment's checkpoint and metrics."""
        return "train" if self.first == 0 else f"train-{self.first}-{self.size}"


def segments(schedule: Sequence[Sequence[str]], steps: int, head_dim: int = HEAD_DIM) -> list[Segment]:
    """Parse a schedule such as ``[[0, "64x2"], [2000, "128x3"]]``.

    Args:
        schedule: pairs of a first step and a size.
        steps: number of steps of the training.
        head_dim: channels of an attention head, if a size does not give them.

    Raises:
        UserError: if the schedule does not begin at step 0, its steps do not rise, a step is past the end, or sizes
            have different head dimensions (no weights could be carried over).
    """
    try:
        pairs = [(int(step), Size.parse(str(size), head_dim)) for step, size in schedule]
    except (ValueError, TypeError) as error:
        raise UserError(f"grow={schedule}: must be a list such as [[0, 64x2], [2000, 128x3]]") from error
    firsts = [first for first, _ in pairs]
    if not firsts or firsts[0] != 0 or sorted(set(firsts)) != firsts or firsts[-1] >= max(steps, 1):
        raise UserError(f"grow={schedule}: its steps must begin at 0, rise, and end before train_steps={steps}")
    if len({size.head_dim for _, size in pairs}) > 1:
        raise UserError(f"grow={schedule}: all sizes need the same head_dim")
    return [Segment(first, last, size) for (first, size), last in zip(pairs, [*firsts[1:], steps], strict=True)]


@torch.no_grad()
def rescale_state(net: nn.Module, target: nn.Module, plan: Plan, seed: int = 0) -> dict[str, Tensor]:
    """Return the target's state dict: the network's weights at the target's size, and the network's buffers.

    Args:
        net: the network trained so far.
        target: a network of the same family.
        plan: of both networks.
        seed: draws the shares of repeated inputs (default 0).
    """
    old, new = plan.layout(net), plan.layout(target)
    weights = resize(stack(dict(net.named_parameters()), old), old, new, generator=seeded_generator("shares", seed))
    for key in closing_slots(new):
        weights[key] = weights[key].clone()
        weights[key][copied_blocks(len(old[key].names), len(new[key].names))] = 0
    return {**dict(net.named_buffers()), **unstack(weights, new)}


@torch.no_grad()
def rescale_optimizer(
    tensors: Mapping[str, Tensor], net: nn.Module, target: nn.Module, plan: Plan
) -> dict[str, Tensor]:
    """Return Adam's state for the target; a copied weight gets the moments of its original.

    Args:
        tensors: state of a training checkpoint, ``optimizer.<index of the parameter>.<key>`` among other tensors.
        net: the network of that state, whose parameters are in the state's order.
        target: a network of the same family.
        plan: of both networks.
    """
    old, new = plan.layout(net), plan.layout(target)
    before, after = ([name for name, _ in n.named_parameters()] for n in (net, target))
    state = {f"optimizer.{i}.step": tensors["optimizer.0.step"].clone() for i in range(len(after))}
    for moment in MOMENTS:
        own = {name: tensors[f"optimizer.{i}.{moment}"] for i, name in enumerate(before)}
        resized = resize(stack(own, old), old, new, share=lambda _, copied_blocks, *__: torch.ones(copied_blocks))
        named = unstack(resized, new)
        state |= {f"optimizer.{i}.{moment}": named[name].clone() for i, name in enumerate(after)}
    return state


def closing_slots(layout: Layout) -> list[str]:
    """Return the slots of blocks that write into the stream: weights, and the biases beside them."""
    weights = [key for key, slot in layout.items() if _writes(slot)]
    biases = [key.removesuffix("weight") + "bias" for key in weights]
    return [*weights, *(key for key in biases if key in layout)]


def copied_blocks(old_depth: int, new_depth: int) -> list[int]:
    """Return the indices of blocks that are not the first made from their source block; none if the depth falls."""
    sources = layer_map(old_depth, new_depth)
    return [block for block, source in enumerate(sources) if source in sources[:block]]


def _writes(slot: Slot) -> bool:
    added = slot.rule.split == 1  # fused parts, such as adaLN's shifts, scales and gates, modulate the stream
    return added and slot.stacked and slot.rule.fan_in is not None and slot.rule.axes[0].startswith(STREAM)
