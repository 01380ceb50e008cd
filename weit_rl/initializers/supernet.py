"""The dense supernet: the same masks, the same resize, the same stage as WeiT, but no templates.

The control that tells what the Kronecker form gives from what training many sizes at once gives (slimmable networks,
arXiv 1812.08928). All weights are the network's own, so the stage trains all of them.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.core.plan import Plan
from weit_rl.initializers.registry import INITIALIZERS, Initializer, Source
from weit_rl.initializers.weit import check as check_bank
from weit_rl.initializers.weit import weit


def check(source: Source | None, target: nn.Module, plan: Plan) -> None:
    """UserError unless the source is a bank of constraint identity."""
    made = source.bank.card["constraint"] if source is not None and source.bank is not None else None
    if made != "identity":
        have = "there is no bank" if made is None else f"this bank is of constraint {made}"
        raise UserError(
            f"init=supernet needs a bank pre-trained without templates, but {have}; "
            "make one with weit_rl.pretrain constraint=identity"
        )
    check_bank(source, target, plan)


INITIALIZERS.add("supernet", Initializer(partial(weit, narrow="cut"), train_lr=1e-3, stage_steps=300, check=check))
