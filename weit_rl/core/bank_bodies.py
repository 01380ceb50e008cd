"""One bank, many bodies: whose embedding, normaliser and head are taken, and a new body's, which are fresh.

Templates and the blocks of a network know no body. What is *bound* to one, the parameters and buffers whose names a
model lists, a bank keeps for each body it was pre-trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from weit_rl.core.bank import TemplateBank
from weit_rl.core.plan import Plan, stack

OWN, BUFFER = "own.", "buffer."


def bodies_of(bank: TemplateBank) -> list[str]:
    """The environments (or data sets) a bank was pre-trained on; a single nameless one where the card does not say."""
    names = bank.card.get("names") or bank.card.get("config", {}).get("env", "")  # older cards have no names
    return [names] if isinstance(names, str) else list(names)


def sizes_of(bank: TemplateBank) -> dict[str, tuple[int | list[int], int]]:
    """What every body of a bank of policies sees (see :func:`seen`), and how many numbers are in its actions."""
    prefixes = [f"body.{index}." if len(bodies_of(bank)) > 1 else "" for index in range(len(bodies_of(bank)))]
    means = [bank.source[f"{prefix}buffer.observation_mean"] for prefix in prefixes]
    heads = [bank.source[f"{prefix}own.head.bias"] for prefix in prefixes]
    return {name: (seen(mean), head.shape[-1]) for name, mean, head in zip(bodies_of(bank), means, heads, strict=True)}


def seen(normaliser: Tensor) -> int | list[int]:
    """Numbers in an observation, by its normaliser; of pictures ``[channels, 1, 1]``."""
    return list(normaliser.shape) if normaliser.ndim > 1 else len(normaliser)


def bank_for(
    bank: TemplateBank, body: str, net: nn.Module, plan: Plan, bound: tuple[str, ...], carried: tuple[str, ...] = ()
) -> TemplateBank:
    """The bank as a bank of one body.

    A body it was pre-trained on keeps what is bound to it, and so does one of other proportions (of the same name up to
    a colon) if its observations and actions are as many; any other one gets what is fresh in ``net``, but for what is
    carried over.

    Args:
        bank: pre-trained on one body or several.
        body: the environment's name.
        net: a fresh plain network of the bank's size for that body, its normaliser in its buffers.
        plan: of both.
        bound: how the names begin of what is bound to a body.
        carried: likewise, of what a body that is not known gets from the first one that is, where it fits.

    Returns:
        A bank that shares the templates; its own network fits ``net``. Its card has ``new_body`` where parts are fresh,
        ``untrained_body`` where they are fresh or of a body of other proportions.
    """
    fresh = parts_of(net, plan, bound)
    known = known_parts(bank, body, fresh)
    parts = known or fresh | fitting(numbered(bank, 0, fresh), fresh, carried)
    return with_parts(bank, parts, new_body=known is None, untrained_body=body not in bodies_of(bank))


def fitting(parts: Mapping[str, Tensor], fresh: Mapping[str, Tensor], carried: tuple[str, ...]) -> dict[str, Tensor]:
    """Those of a body's own parameters whose names begin so and whose shapes are the fresh ones'."""
    names = tuple(OWN + name for name in carried)
    alike = (name for name in parts if name in fresh and parts[name].shape == fresh[name].shape)
    return {name: parts[name] for name in alike if name.startswith(names)}


def parts_of(net: nn.Module, plan: Plan, bound: tuple[str, ...]) -> dict[str, Tensor]:
    """What is bound to the body of a plain network: parameters by slot, and all buffers."""
    layout = {key: slot for key, slot in plan.layout(net).items() if key.startswith(bound)}
    stacked = stack({name: p.detach() for name, p in net.named_parameters()}, layout)
    buffers = {BUFFER + name: buffer.detach() for name, buffer in net.named_buffers()}
    return {OWN + key: tensor for key, tensor in stacked.items()} | buffers


def known_parts(bank: TemplateBank, body: str, fresh: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """What the bank has for a body, or for its nearest kin if that fits; None where it has nothing."""
    names = bodies_of(bank)
    if body in names:
        return numbered(bank, names.index(body), fresh)
    for index, name in enumerate(names):
        parts = numbered(bank, index, fresh)
        alike = all(name in fresh and parts[name].shape == fresh[name].shape for name in parts)
        if alike and name.partition(":")[0] == body.partition(":")[0]:
            return parts
    return None


def numbered(bank: TemplateBank, index: int, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is bound to the body of that number; of a bank of a single one, whatever ``like`` names."""
    prefix = f"body.{index}."
    parts = {name.removeprefix(prefix): t for name, t in bank.source.items() if name.startswith(prefix)}
    return parts or {name: bank.source[name] for name in like if name in bank.source}


def with_parts(bank: TemplateBank, parts: Mapping[str, Tensor], **card: Any) -> TemplateBank:
    """A bank of one body, with what is bound to it, and with these entries in its card."""
    shared = {name: t for name, t in bank.source.items() if not name.startswith("body.") and name not in parts}
    return TemplateBank(dict(bank.templates), bank.card["constraint"], bank.card | card, {**shared, **parts})


def joined(bodies: Sequence[Mapping[str, Tensor]], bound: tuple[str, ...]) -> dict[str, Tensor]:
    """The source of a bank of one or more bodies: what they share once, what is bound to each under its number.

    Args:
        bodies: the source of each as a bank of its own, ``own.*`` and ``buffer.*``.
        bound: how the names begin of what is bound to a body; buffers are too.
    """
    if len(bodies) == 1:
        return dict(bodies[0])
    prefixes = (BUFFER, *(OWN + name for name in bound))
    source = {name: tensor for name, tensor in bodies[0].items() if not name.startswith(prefixes)}
    for index, body in enumerate(bodies):
        source |= {f"body.{index}.{name}": tensor for name, tensor in body.items() if name.startswith(prefixes)}
    return source
