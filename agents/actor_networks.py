"""Networks of an actor without their action heads: composed from a bank, loaded from a checkpoint, or untrained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.registry import unknown_name_error
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.bank_bodies import (
    bank_for,
    bank_with_parts,
    body_names,
    body_sizes,
    bound_parts,
    observation_size,
    task_names,
)
from weit_rl.core.bank_match import model_of, stored_options
from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.models import MODELS
from weit_rl.models.shipped_banks import named_bank
from weit_rl.training.checkpoint import load_network

TILE = 16  # edge of a tile if no bank is given
FAMILIES = {False: ("mlp",), True: ("conv", "convnext_policy")}  # models by pictures; the first one without a bank
Shape = tuple[int | list[int], int]  # size of observations, [channels, 1, 1] for pictures, and of actions
AUTO, NEW = "auto", "new"


def fresh(model: str, size: Size, observation_dim: int | list[int], action_dim: int, **options: Any) -> Any:
    """Make an untrained plain policy of a model; by default it is not conditioned on a return."""
    spaces = {"observation_dim": observation_dim, "action_dim": max(1, action_dim)}
    return MODELS.get(model).make(size, **spaces, **{"rtg": "none", **options})


def load(bank: str | Path, models: tuple[str, ...] = FAMILIES[False]) -> TemplateBank:
    """Load the bank of a path, or the one that ships for an environment.

    Raises:
        UserError: if there is none, or it is of another model.
    """
    found = TemplateBank.load(expand_home(named_bank(str(bank), models[0])))
    _refuse_others(f"bank={bank}", model_of(found.card), models)
    return found


def known_body(bank: TemplateBank, asked: str, shape: Shape, named: str = "") -> str:
    """Return the name of the matching body in the bank, or ``"new"``.

    Args:
        bank: of one body or several.
        asked: a body's name, ``"new"``, or ``"auto"``: the body with equal numbers of observations and actions.
        shape: these numbers.
        named: preferred name among several bodies of equal size, such as the name of the bank that ships for it.

    Raises:
        UserError: for a body that the bank does not have, or if several have the same size.
    """
    sizes = body_sizes(bank)
    sizes |= {task: sizes[name] for name in list(sizes) for task in task_names(bank, name)} if asked != AUTO else {}
    if asked == AUTO:
        alike = [name for name, size in sizes.items() if size == shape]
        if named in alike:
            return named
        if len(alike) > 1:
            raise UserError(f"body=auto: {' and '.join(alike)} of the bank are as large; name one, or body={NEW}")
        return alike[0] if alike else NEW
    if asked != NEW and asked not in sizes:
        raise unknown_name_error("body", asked, [AUTO, NEW, *sizes])
    if asked != NEW and sizes[asked] != shape:
        raise UserError(f"body={asked}: has {_said(sizes[asked])}, the environment {_said(shape)}; use body={NEW}")
    return asked


def composed(bank: TemplateBank, shape: Shape, size: Size, body: str) -> tuple[WeiT, Any]:
    """Compose a policy of a size and body from the bank, without its head; and the whole policy, with it.

    The policy is conditioned on one constant return. Its last scale and shift are then constant too, and are folded
    into ``norm_out``.
    """
    model, rtg = MODELS.get(model_of(bank.card)), stored_options(bank.card).get("rtg", "latest")
    plan = model.plan(TILE).with_tiles(bank.tiles)
    task, body = body, family_of(bank, body)
    coded = {"codes": 1} if task_names(bank, body) else {}
    source = fresh(model_of(bank.card), bank.network_size(), *shape, rtg=rtg, **coded)
    if body == NEW:
        bank = bank_with_parts(bank, bound_parts(source, plan, model.bound))
    else:
        bank = bank_for(bank, body, source, plan, model.bound, tasks=(task,) if coded else ())
    like = fresh(model_of(bank.card), size, *shape, rtg=rtg, **coded)
    whole: Any = network_of_size(bank, source, like, plan).materialize()
    target = fresh(model_of(bank.card), size, *shape)
    del target.head
    net = network_of_size(bank, source, target, plan)
    net.bank.requires_grad_(False)
    fold_return(whole, net.free)
    fold_code(whole, net.free)
    return net, whole


def family_of(bank: TemplateBank, body: str) -> str:
    """Return the family that a task is of, which has its parts in the bank; any other body is returned as it is."""
    return next((name for name in body_names(bank) if body in task_names(bank, name)), body)


def trained(
    checkpoint: str | Path, shape: Shape, models: tuple[str, ...] = FAMILIES[False]
) -> tuple[Size, nn.Module, Any]:
    """Load a checkpoint: the size of its network, the network without its head, and the whole network.

    Raises:
        UserError: if it is of another model, or for another body.
    """
    path = expand_home(checkpoint)
    whole, card = load_network(path / "checkpoints" / "last.safetensors" if path.is_dir() else path)
    _refuse_others(f"checkpoint={checkpoint}", card["model"], models)
    made_for = observation_size(whole.get_buffer("observation_mean")), card["options"]["action_dim"]
    if made_for != shape:
        have, want = _said(made_for), _said(shape)
        raise UserError(f"checkpoint={checkpoint}: was trained with {have}, the environment has {want}; give its own")
    size = Size(*card["size"])
    net = fresh(card["model"], size, *shape)
    state = whole.state_dict()
    net.load_state_dict({name: state[name] for name in net.state_dict()})
    del net.head
    if getattr(whole, "codes", 0) > 1:
        raise UserError(f"checkpoint={checkpoint}: does {whole.codes} tasks; give a network of one")
    fold_return(whole, dict(net.named_parameters()))
    fold_code(whole, dict(net.named_parameters()))
    return size, net, whole


@torch.no_grad()
def fold_return(policy: Any, free: Any) -> None:
    """Fold the effect of the policy's target return on its last hidden state into another policy's ``norm_out``."""
    if policy.rtg == "latest":
        scale, shift = policy.modulate((policy.target_return / policy.return_scale).reshape(1)).chunk(2)
        weight, bias = (free[f"norm_out.{name}"] for name in ("weight", "bias"))
        weight.mul_(1 + scale)
        bias.mul_(1 + scale).add_(shift)


@torch.no_grad()
def fold_code(policy: Any, free: Any) -> None:
    """Fold a policy's code of its task into another policy's embedding of observations."""
    if getattr(policy, "codes", 0):
        free["embed_observation.bias"].add_(policy.code())


def _refuse_others(what: str, model: str, models: tuple[str, ...]) -> None:
    if model not in models:
        scaled = "; pictures that are scaled beforehand need normalize_images=False" if model in FAMILIES[True] else ""
        raise UserError(f"{what}: is of model={model}; WeiTPolicy takes model={' or '.join(models)} here{scaled}")


def _said(shape: Shape) -> str:
    return f"{shape[0]} observations and {shape[1]} actions"
