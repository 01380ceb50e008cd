"""rank=auto: how many templates each role gets, from what a short training without templates writes into its weights.

The full network is trained for a few hundred steps as the dense supernet (constraint identity), in the same loop with
the same masks. What counts is the change of a role's weights: their start is white noise, which no number of templates
below a tile's entries could hold. Its spectrum over tiles says how many templates keep a share of its energy.

The choice depends on seed and data alone, and the stage leaves a checkpoint, so a resumed run chooses the same. It
counts into the cost of the bank. Growing the rank in the middle of pre-training instead would save the stage, but start
Adam anew at each growth and make the bank depend on when it happened.

The share is a working choice. Measured on HalfCheetah's expert data at 128 x 6, tile 16 (256 entries), seed 0: spectra
are flat, so 0.95 of the energy asks for 216, 176, 208 and 208 templates (qkv, out, fc1, fc2), nearly all there are, 0.8
for 136, 112, 136 and 136, and 0.5 for 64, 48, 48 and 56.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.plan import Layout, Plan
from weit_rl.core.template_svd import rank_for, spectrum

STEPS = 300
ENERGY = 0.5
MULTIPLE = 8  # what matrix products like


def dense(net: nn.Module, plan: Plan) -> WeiT:
    """The network without templates, in the form that the masked loop trains."""
    return WeiT(net, TemplateBank.from_plan(plan, constraint="identity"), plan)


def ranks_of(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], layout: Layout, energy: float = ENERGY
) -> dict[str, int]:
    """Templates by role that keep a share of the change of its weights: a multiple of 8, or all that a tile can need.

    Args:
        before: every slot's weights, stacked, before the short training.
        after: and after it.
        layout: of the network.
        energy: share of the sum of squares.
    """
    changes: dict[str, list[Tensor]] = {}
    tiles = {slot.rule.role: slot.rule.tile for slot in layout.values() if slot.rule.tile is not None}
    for key, slot in layout.items():
        if slot.rule.tile is not None:
            changes.setdefault(slot.rule.role, []).append((after[key] - before[key]).detach())
    spectra = {role: spectrum(stacks, tiles[role]) for role, stacks in changes.items()}
    return {role: min(-(-rank_for(s, energy) // MULTIPLE) * MULTIPLE, len(s)) for role, s in spectra.items()}
