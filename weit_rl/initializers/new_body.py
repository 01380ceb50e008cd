"""A body, or a data set, that a bank never saw: its head is fitted in closed form before anything is trained."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from weit_rl.core.bank_bodies import OWN, with_parts
from weit_rl.core.composed_network import WeiT
from weit_rl.core.plan import HEAD, Layout, stack
from weit_rl.fitting.head import Loss, fit_head
from weit_rl.initializers.registry import Context, Source

SHORT = 100  # steps; in fewer, large ones would first undo what was fitted and then not come back


def acquainted(source: Source, context: Context) -> Source:
    """The source with a head that is fitted to the body; as it is, where the bank was pre-trained on that."""
    bank = source.bank
    if bank is None or not bank.card.get("untrained_body"):
        return source
    net, layout = copy.deepcopy(source.net), context.plan.layout(source.net)
    fit_head(net, layout, context.loss)
    heads = {OWN + key: x for key, x in stack_heads(net, layout).items()}
    return Source(net, with_parts(bank, heads))


def fit_composed(net: WeiT, loss: Loss) -> None:
    """As :func:`weit_rl.fitting.head.fit_head`, of a composed network."""
    plain = net.materialize()
    fit_head(plain, net.layout, loss)
    net.load_own({**net.own(), **stack_heads(plain, net.layout)})


def stack_heads(net: nn.Module, layout: Layout) -> dict[str, Tensor]:
    """The parameters of role ``head`` of a plain network by slot."""
    heads = {key: slot for key, slot in layout.items() if slot.rule.role == HEAD}
    return stack({name: p.detach() for name, p in net.named_parameters()}, heads)


def slowed_if_short(steps: int) -> float:
    """What the rate of a stage is multiplied with behind what was fitted, which few large steps undo."""
    return min(1.0, steps / SHORT) ** 1.5
