"""The head of a body, or a data set, that a bank never saw: fitted in closed form before anything is trained."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import Tensor, nn

from weit_rl.core.bank_bodies import OWN, bank_with_parts
from weit_rl.core.composed_network import WeiT
from weit_rl.core.plan import HEAD, Layout
from weit_rl.core.slot_tensors import stack
from weit_rl.fitting.head import Loss, fit_head
from weit_rl.initializers.registry import Context, TrainedSource


def with_fitted_head(source: TrainedSource, context: Context) -> TrainedSource:
    """Return a source whose own network has a head that is fitted to the data."""
    bank = source.bank
    assert bank is not None
    net, layout = copy.deepcopy(source.net), context.plan.layout(source.net)
    fit_head(net, layout, context.loss)
    heads = {OWN + key: x for key, x in _stacked_heads(net, layout).items()}
    return replace(source, net=net, bank=bank_with_parts(bank, heads))


def fit_composed_head(net: WeiT, loss: Loss) -> None:
    """Fit the head of a composed network in place, as :func:`weit_rl.fitting.head.fit_head` does a plain one's."""
    plain = net.materialize()
    fit_head(plain, net.layout, loss)
    net.load_own({**net.own(), **_stacked_heads(plain, net.layout)})


def _stacked_heads(net: nn.Module, layout: Layout) -> dict[str, Tensor]:
    """Return the parameters of role ``head`` of a plain network by slot."""
    heads = {key: slot for key, slot in layout.items() if slot.rule.role == HEAD}
    return stack({name: p.detach() for name, p in net.named_parameters()}, heads)
