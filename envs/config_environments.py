"""The environments that a config names by ``env``, ``body`` and ``pixels``, one or several."""

from __future__ import annotations

import copy
from typing import TypeVar

from weit_rl.common.errors import UserError
from weit_rl.envs.bodies import with_body
from weit_rl.envs.pixels import split_pixels, with_pixels
from weit_rl.envs.registry import ENV_GROUPS, EnvEntry, env_entry
from weit_rl.options.option_fields import Texts
from weit_rl.options.shared_options import ControlDataOptions, EnvOptions

AnyEnvOptions = TypeVar("AnyEnvOptions", bound=EnvOptions)


def fold_body_and_pixels(cfg: EnvOptions) -> None:
    """Write the options ``cfg.body`` and ``cfg.pixels`` into the names in ``cfg.env``, and reset them.

    The name of a group becomes the list of its environments.
    """
    cfg.env = expand_groups(cfg.env)
    if isinstance(cfg.env, str):
        env, edge = split_pixels(cfg.env)
        cfg.env = with_pixels(with_body(env, cfg.body), cfg.pixels or edge or False)
    elif any(value is not None for value in cfg.body.values()):
        raise UserError(
            f"env={list(cfg.env)}: body.* needs a single environment; write names such as Hopper:torso=1.25 instead"
        )
    else:
        cfg.env = [with_pixels(split_pixels(env)[0], cfg.pixels or split_pixels(env)[1] or False) for env in cfg.env]
    cfg.pixels = False
    for parameter in cfg.body:
        cfg.body[parameter] = None


def expand_groups(env: Texts) -> Texts:
    """Replace the names of groups, one or in a list, by the names of their environments."""
    groups = set(ENV_GROUPS.names())
    if isinstance(env, str):
        one, edge = split_pixels(env)
        several = [with_pixels(name, edge or False) for name in ENV_GROUPS.get(one)] if one in groups else []
        return several or env
    parts = [expand_groups(str(one)) for one in env]
    return [name for part in parts for name in ([part] if isinstance(part, str) else part)]


def entries_of(env: Texts) -> list[EnvEntry]:
    """Return the entries of one or several environments."""
    return [env_entry(name) for name in ([env] if isinstance(env, str) else env)]


def bodies(cfg: AnyEnvOptions) -> list[AnyEnvOptions]:
    """Return the config of each body; several bodies have a data set each, or share a level.

    All tasks of one family have one body, whose config names several environments with a data set each.
    """
    if isinstance(cfg.env, str):
        return [cfg]
    assert isinstance(cfg, ControlDataOptions)  # no other has a list of environments
    envs = list(cfg.env)
    data = [cfg.data] * len(envs) if isinstance(cfg.data, str | None) else list(cfg.data)
    if len(set(envs)) < len(envs) or not envs:
        raise UserError(f"env={envs}: name each body once")
    if len(data) != len(envs):
        raise UserError(f"data={data}: give one set for each of the {len(envs)} bodies, in their order, or one level")
    if cfg.get("data_weights") is not None:
        raise UserError("data_weights: weighs the sets of one body; leave it out where env names several")
    members: dict[str, list[int]] = {}
    for number, entry in enumerate(entries_of(envs)):
        members.setdefault(entry.family or entry.name, []).append(number)
    found: list[AnyEnvOptions] = []
    for numbers in members.values():
        body = copy.deepcopy(cfg)
        several, sets = ([part[number] for number in numbers] for part in (envs, data))
        body.env, body.data = (several, sets) if len(numbers) > 1 else (several[0], sets[0])
        found.append(body)
    return found
