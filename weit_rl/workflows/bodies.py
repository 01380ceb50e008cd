"""The bodies of a config: how one differs from the original, and several that share a bank."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from weit_rl.envs.bodies import with_body
from weit_rl.errors import UserError


def name_body(cfg: Any) -> None:
    """Let ``cfg.env`` say what ``cfg.body`` describes: from here on a body is an environment by its name."""
    if isinstance(cfg.env, str):
        cfg.env = with_body(cfg.env, cfg.body)
    elif any(value is not None for value in cfg.body.values()):
        raise UserError(
            f"env={list(cfg.env)}: body.* is of a single one; write names such as Hopper:torso=1.25 instead"
        )
    for parameter in cfg.body:
        cfg.body[parameter] = None


def bodies(cfg: Any) -> list[Any]:
    """The config of each body: of several, each has its own data, or the same level."""
    if isinstance(cfg.env, str):
        return [cfg]
    envs = list(cfg.env)
    data = [cfg.data] * len(envs) if isinstance(cfg.data, str) else list(cfg.data)
    if len(set(envs)) < len(envs) or not envs:
        raise UserError(f"env={envs}: name each body once")
    if len(data) != len(envs):
        raise UserError(f"data={data}: give one set for each of the {len(envs)} bodies, in their order, or one level")
    if cfg.data_weights is not None:
        raise UserError("data_weights: weighs the sets of one body; leave it out where env names several")
    return [OmegaConf.merge(cfg, {"env": env, "data": one}) for env, one in zip(envs, data, strict=True)]
