"""A network of a new size that starts from a bank's own network, resized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.seeds import seeded_generator
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.eval_mode import eval_mode
from weit_rl.core.plan import FIXED, Layout, Plan
from weit_rl.core.resize import resize

BATCHES = 8  # number of batches on which starts are compared


def network_of_size(
    bank: TemplateBank,
    source_net: nn.Module,
    target: nn.Module,
    plan: Plan,
    seed: int = 0,
    through: Sequence[Layout] = (),
    source_plan: Plan | None = None,
) -> WeiT:
    """Return a composed network of the target's size that starts from the bank's own network.

    Args:
        bank: a pre-trained bank (its ``source`` holds scalers, free parameters and buffers).
        source_net: a plain network of the bank's size.
        target: a plain network of the wanted size.
        plan: of both networks.
        seed: draws the shares of repeated inputs (default 0).
        through: layouts of intermediate sizes (default: none).
        source_plan: plan of the source network, if it differs, as ``Plan.infer`` makes it at another depth.

    Raises:
        UserError: if the bank does not fit the plan.
    """
    source_plan = source_plan or plan
    check_source(bank, source_net, source_plan)
    net = WeiT(target, bank, plan, seed)
    own, generator = own_factors(bank), seeded_generator("shares", seed)
    path = [source_plan.layout(source_net), *through, net.layout]
    for before, after in pairwise(path):
        own = resize(own, before, after, bank.constraint.factored, generator)
    net.load_own(own)
    _copy_buffers(bank, net.net)
    return net


def _copy_buffers(bank: TemplateBank, net: nn.Module) -> None:
    """Copy the bank's trained buffers into a network; UserError if a shape differs."""
    for name, buffer in net.named_buffers():
        trained = bank.source.get(f"buffer.{name}", buffer)
        if trained.shape != buffer.shape:
            raise UserError(
                f"buffer {name}: {tuple(trained.shape)} in the bank, {tuple(buffer.shape)} here; cannot resize"
            )
        buffer.copy_(trained)


def candidate_starts(
    bank: TemplateBank, source_net: nn.Module, target: nn.Module, plan: Plan, seed: int = 0
) -> list[WeiT]:
    """Return candidate starts: the target resized from the full network, and through each narrower sampled width.

    Between two sampled widths, widening the smaller one can start better than cutting the larger one, because
    pre-training never trained that cut.
    """
    source, wanted = plan.layout(source_net), plan.layout(target)
    full = bank.card.get("size", [0])[0]
    between = [_at_width(source, width, full) for width in sampled_widths(bank) if width < full]
    paths = [(), *((layout,) for layout in between if _widens(layout, wanted) and _has_whole_tiles(layout))]
    return [network_of_size(bank, source_net, target, plan, seed, path) for path in paths]


def sampled_widths(bank: TemplateBank) -> list[int]:
    """Return the widths that pre-training sampled, in rising order; none if the card does not give them."""
    return sorted({int(size.partition("x")[0]) for size in bank.card.get("sizes_sampled", [])})


def _at_width(layout: Layout, width: int, full: int) -> Layout:
    """Return the layout at another width, with every axis that is not fixed scaled by ``width / full``."""

    def shape(axes: tuple[str, ...], lengths: tuple[int, ...]) -> tuple[int, ...]:
        pairs = zip(axes, lengths, strict=True)
        return tuple(length if axis == FIXED else length * width // full for axis, length in pairs)

    return {key: replace(slot, shape=shape(slot.rule.axes, slot.shape)) for key, slot in layout.items()}


def _widens(layout: Layout, target: Layout) -> bool:
    """Return True if some axis of the target is longer than in the layout."""
    return any(max(after - before for before, after in zip(layout[key].part, slot.part, strict=True)) > 0
               for key, slot in target.items() if slot.part)  # fmt: skip


def _has_whole_tiles(layout: Layout) -> bool:
    """Return True if all tiles are whole, so that ``resize`` can widen the layout: it does not repeat cropped tiles."""
    composed = [slot for slot in layout.values() if slot.rule.tile is not None]
    return all(n % t == 0 for slot in composed for n, t in zip(slot.part, slot.rule.tile or (), strict=True))


@torch.no_grad()
def start_loss(net: nn.Module, loss: Callable[[Any, int], Tensor], batches: int = BATCHES) -> float:
    """Return the mean loss of a network on the first batches, on which starts are compared."""
    with eval_mode(net):
        return sum(float(loss(net, step)) for step in range(batches)) / batches


def check_source(bank: TemplateBank, source_net: nn.Module, plan: Plan) -> None:
    """Check that a bank holds all factors of a network of its own size, in the right shapes.

    Raises:
        UserError: naming the missing or differing slot.
    """
    own = own_factors(bank)
    for key, wanted in WeiT(source_net, bank, plan).own().items():
        if key not in own:
            raise UserError(f"the bank's network has no {key}, which the model needs; use a bank made for this model")
        if own[key].shape != wanted.shape:
            have, need = ("x".join(map(str, t.shape)) for t in (own[key], wanted))
            raise UserError(f"the bank's {key} is {have}, not {need}; use a bank made for such data and such a model")


def own_factors(bank: TemplateBank) -> dict[str, Tensor]:
    """Return the scalers and free parameters of the bank's own network, by slot."""
    return {name[4:]: tensor for name, tensor in bank.source.items() if name.startswith("own.")}
