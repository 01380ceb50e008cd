"""Banks for several bodies: the embedding, normaliser and head of each, and fresh ones for a new body.

Templates and blocks are the same for all bodies. Each model lists the names of the parameters that are *bound* to a
body; buffers are bound too. A bank keeps one copy of the bound parts for each body it was pre-trained on.

Tasks of one family are one body, named after the family. They share all its parts but ``task_code``, which has a row
for each task; the card lists them under ``tasks``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.core.bank import TemplateBank
from weit_rl.core.plan import Plan
from weit_rl.core.slot_tensors import stack

OWN, BUFFER = "own.", "buffer."
CODES = OWN + "task_code"  # (1, 1, tasks, numbers)


def body_names(bank: TemplateBank) -> list[str]:
    """Return the environments (or data sets) of a bank's pre-training; one empty name if the card gives none."""
    names = bank.card.get("names") or bank.card.get("config", {}).get("env", "")  # older cards have no names
    return [names] if isinstance(names, str) else list(names)


def body_sizes(bank: TemplateBank) -> dict[str, tuple[int | list[int], int]]:
    """Return the observation size (see :func:`seen`) and the action size of every body in a bank of policies."""
    prefixes = [f"body.{index}." if len(body_names(bank)) > 1 else "" for index in range(len(body_names(bank)))]
    means = [bank.source[f"{prefix}buffer.observation_mean"] for prefix in prefixes]
    heads = [bank.source[f"{prefix}own.head.bias"] for prefix in prefixes]
    return {
        name: (observation_size(mean), head.shape[-1])
        for name, mean, head in zip(body_names(bank), means, heads, strict=True)
    }


def task_names(bank: TemplateBank, body: str) -> list[str]:
    """Return the tasks that a body of the bank has codes for, in their order; none if it is no family."""
    return list(bank.card.get("tasks", {}).get(body, []))


def observation_size(normaliser: Tensor) -> int | list[int]:
    """Return the length of an observation, or ``[channels, 1, 1]`` for pictures, from its normaliser's mean."""
    return list(normaliser.shape) if normaliser.ndim > 1 else len(normaliser)


def bank_for(
    bank: TemplateBank,
    body: str,
    net: nn.Module,
    plan: Plan,
    bound: tuple[str, ...],
    transferred: tuple[str, ...] = (),
    tasks: Sequence[str] = (),
) -> TemplateBank:
    """Return the bank as a bank of one body.

    A body of the pre-training keeps its parts. A body of other proportions (of the same name up to a colon) gets the
    parts of its relative, if its observation and action sizes are the same. Any other body gets fresh parts from
    ``net``, except the ones carried over. A task of a known family gets the family's parts, with its own code, or the
    mean of the family's codes if it is new.

    Args:
        bank: pre-trained on one body or several.
        body: name of the environment, or of its family of tasks.
        net: a fresh plain network of the bank's size for that body, with its normaliser in its buffers.
        plan: of both networks.
        bound: prefixes of the names of parameters bound to a body.
        transferred: prefixes of bound parameters that a new body takes from the bank's first body, if their shapes are
            equal (default: none).
        tasks: the tasks that ``net`` has codes for, in their order (default: none).

    Returns:
        A bank that shares the templates and whose own network fits ``net``. Its card has ``new_body`` True if parts are
        fresh, and ``untrained_body`` True if they are fresh or a relative's. Its ``new_tasks`` lists the tasks of a
        known family that the bank has no codes for.
    """
    fresh = bound_parts(net, plan, bound)
    known = known_parts(bank, body, fresh)
    parts = known or fresh | matching_parts(_stored_parts(bank, 0, fresh), fresh, transferred)
    new = [task for task in tasks if task not in task_names(bank, body)] if known else []
    if CODES in fresh:
        parts = {**parts, CODES: _codes(bank, body, parts[CODES], fresh[CODES], tasks)}
    card = {"new_body": known is None, "untrained_body": body not in body_names(bank), "new_tasks": new}
    return bank_with_parts(bank, parts, **card)


def _codes(bank: TemplateBank, body: str, stored: Tensor, fresh: Tensor, tasks: Sequence[str]) -> Tensor:
    """Choose the row of every task: the bank's own, the mean of all of them for a new task, the fresh one without any.

    The network was trained on codes around their mean; a code drawn afresh lies outside of them.
    """
    known = {task: stored[:, :, row] for row, task in enumerate(task_names(bank, body))}
    if not known:
        return fresh
    mean = torch.stack([*known.values()]).mean(0)
    return torch.stack([known.get(task, mean) for task in tasks], dim=2)


def matching_parts(
    parts: Mapping[str, Tensor], fresh: Mapping[str, Tensor], transferred: tuple[str, ...]
) -> dict[str, Tensor]:
    """Select the parameters whose names have a transferred prefix and whose shapes equal the fresh ones."""
    names = tuple(OWN + name for name in transferred)
    alike = (name for name in parts if name in fresh and parts[name].shape == fresh[name].shape)
    return {name: parts[name] for name in alike if name.startswith(names)}


def bound_parts(net: nn.Module, plan: Plan, bound: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the bound parts of a plain network: parameters by slot (``own.*``), and all buffers (``buffer.*``)."""
    layout = {key: slot for key, slot in plan.layout(net).items() if key.startswith(bound)}
    stacked = stack({name: p.detach() for name, p in net.named_parameters()}, layout)
    buffers = {BUFFER + name: buffer.detach() for name, buffer in net.named_buffers()}
    return {OWN + key: tensor for key, tensor in stacked.items()} | buffers


def known_parts(bank: TemplateBank, body: str, fresh: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the bank's parts for a body, or for its first relative whose parts fit; None if there are none."""
    names = body_names(bank)
    if body in names:
        return _stored_parts(bank, names.index(body), fresh)
    for index, name in enumerate(names):
        parts = _stored_parts(bank, index, fresh)
        alike = all(name in fresh and parts[name].shape == fresh[name].shape for name in parts)
        if alike and name.partition(":")[0] == body.partition(":")[0]:
            return parts
    return None


def _stored_parts(bank: TemplateBank, index: int, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the bound parts of the body with that index; in a bank of one body, the parts that ``like`` names."""
    prefix = f"body.{index}."
    parts = {name.removeprefix(prefix): t for name, t in bank.source.items() if name.startswith(prefix)}
    return parts or {name: bank.source[name] for name in like if name in bank.source}


def bank_with_parts(bank: TemplateBank, parts: Mapping[str, Tensor], **card: Any) -> TemplateBank:
    """Return a bank of one body with these bound parts and these additional card entries."""
    shared = {name: t for name, t in bank.source.items() if not name.startswith("body.") and name not in parts}
    return TemplateBank(dict(bank.templates), bank.card["constraint"], bank.card | card, {**shared, **parts})


def join_bodies(bodies: Sequence[Mapping[str, Tensor]], bound: tuple[str, ...]) -> dict[str, Tensor]:
    """Merge the sources of one or more bodies: shared tensors once, bound tensors as ``body.<index>.*``.

    Args:
        bodies: source of each body's own bank, ``own.*`` and ``buffer.*``.
        bound: prefixes of the names of parameters bound to a body.
    """
    if len(bodies) == 1:
        return dict(bodies[0])
    prefixes = (BUFFER, *(OWN + name for name in bound))
    source = {name: tensor for name, tensor in bodies[0].items() if not name.startswith(prefixes)}
    for index, body in enumerate(bodies):
        source |= {f"body.{index}.{name}": tensor for name, tensor in body.items() if name.startswith(prefixes)}
    return source
