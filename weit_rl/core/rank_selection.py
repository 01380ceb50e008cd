"""rank=auto: the number of templates for each role, from a short training without templates.

The full network is trained for a few hundred steps as the dense supernet (constraint identity), in the same loop with
the same masks. The change of a role's weights counts, not the weights: they start as white noise, which no number of
templates below a tile's entries could hold. The spectrum of the change over tiles gives the number of templates that
keep a share of its energy.

The choice depends on seed and data alone, and the stage leaves a checkpoint, so a resumed run chooses the same ranks.
The cost of this training counts as part of the bank's cost. Growing the rank during pre-training would save the stage.
But it would restart Adam at each growth, and the bank would depend on when that happened.

The share is a working choice, because spectra are flat. On HalfCheetah's expert data at 128 x 6, tile 16 (256 entries),
seed 0, a share of 0.95 asks for 216, 176, 208 and 208 templates (qkv, out, fc1, fc2), 0.8 for 136, 112, 136 and 136,
and 0.5 for 64, 48, 48 and 56.
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
MULTIPLE = 8  # ranks are multiples of 8, because matrix products are fastest so


def dense_supernet(net: nn.Module, plan: Plan) -> WeiT:
    """Return the network without templates, in the form that the masked training loop takes."""
    return WeiT(net, TemplateBank.from_plan(plan, constraint="identity"), plan)


def ranks_of(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], layout: Layout, energy: float = ENERGY
) -> dict[str, int]:
    """Return for each role the number of templates that keep a share of the change of its weights.

    The number is a multiple of 8, or the most that a tile can need.

    Args:
        before: every slot's weights, stacked, before the short training.
        after: the same after the short training.
        layout: of the network.
        energy: share of the sum of squares (default 0.5).
    """
    changes: dict[str, list[Tensor]] = {}
    tiles = {slot.rule.role: slot.rule.tile for slot in layout.values() if slot.rule.tile is not None}
    for key, slot in layout.items():
        if slot.rule.tile is not None:
            changes.setdefault(slot.rule.role, []).append((after[key] - before[key]).detach())
    spectra = {role: spectrum(stacks, tiles[role]) for role, stacks in changes.items()}
    return {role: min(-(-rank_for(s, energy) // MULTIPLE) * MULTIPLE, len(s)) for role, s in spectra.items()}
