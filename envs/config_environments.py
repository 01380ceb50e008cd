"""The environments that a config names by ``env``, ``body`` and ``pixels``, one or several."""

from __future__ import annotations

import copy
from typing import TypeVar

from weit_rl.common.errors import UserError
from weit_rl.envs.bodies import with_body
from weit_rl.envs.pixels import split_pixels, with_pixels
from weit_rl.options.shared_options import ControlDataOptions, EnvOptions

AnyEnvOptions = TypeVar("AnyEnvOptions", bound=EnvOptions)


def fold_body_and_pixels(cfg: EnvOptions) -> None:
    """Write the options ``cfg.body`` and ``cfg.pixels`` into the name in ``cfg.env``, and reset them."""
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


def bodies(cfg: AnyEnvOptions) -> list[AnyEnvOptions]:
    """Return the config of each body; several bodies have a data set each, or share a level."""
    if isinstance(cfg.env, str):
        return [cfg]
    assert isinstance(cfg, ControlDataOptions)  # no other has a list of environments
    envs = list(cfg.env)
    data = [cfg.data] * len(envs) if isinstance(cfg.data, str) else list(cfg.data)
    if len(set(envs)) < len(envs) or not envs:
        raise UserError(f"env={envs}: name each body once")
    if len(data) != len(envs):
        raise UserError(f"data={data}: give one set for each of the {len(envs)} bodies, in their order, or one level")
    if cfg.data_weights is not None:
        raise UserError("data_weights: weighs the sets of one body; leave it out where env names several")
    found: list[AnyEnvOptions] = []
    for env, one in zip(envs, data, strict=True):
        body = copy.deepcopy(cfg)
        body.env, body.data = env, one
        found.append(body)
    return found
