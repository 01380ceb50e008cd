"""A control for WeiT: a dense supernet, with the same masks, resize and stage, but without templates.

It separates the effect of the Kronecker form from that of training many sizes at once (slimmable networks,
arXiv 1812.08928). All weights are the network's own, so the stage trains all of them.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.core.plan import Plan
from weit_rl.initializers.registry import INITIALIZERS, Initializer, TrainedSource
from weit_rl.initializers.weit import check as check_bank
from weit_rl.initializers.weit import weit


def check(source: TrainedSource | None, target: nn.Module, plan: Plan) -> None:
    """Raise UserError unless the source has a bank of constraint identity."""
    constraint = source.bank.card["constraint"] if source is not None and source.bank is not None else None
    if constraint != "identity":
        have = "there is no bank" if constraint is None else f"this bank is of constraint {constraint}"
        raise UserError(
            f"init=supernet needs a bank pre-trained without templates, but {have}; "
            "make one with weit_rl.pretrain constraint=identity"
        )
    check_bank(source, target, plan)


INITIALIZERS.add("supernet", Initializer(partial(weit, narrow="cut"), train_lr=1e-3, stage_steps=300, check=check))
