"""The control task that a config describes: environment, body, pixels, data, model; or that of several bodies."""

from __future__ import annotations

from typing import Any

from weit_rl.data import load_trajectories
from weit_rl.envs.bodies import with_body
from weit_rl.envs.entry import EnvEntry, env_entry
from weit_rl.envs.pixels import split_pixels, with_pixels
from weit_rl.errors import UserError
from weit_rl.models import MODELS
from weit_rl.models.policy import POSITIONS, RTG
from weit_rl.options import as_config, plain_config
from weit_rl.registry import unknown
from weit_rl.tasks import TASKS, Kind, Measure
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.device import device_of


def control_task(cfg: Any, tile: int = ControlConfig.tile) -> Control:
    """The control task of a config: environment, data, model options."""
    entry = env_entry(cfg.env)
    check_kind(cfg.model, entry)
    for name, choices in {"rtg": RTG, "positions": POSITIONS}.items():
        if cfg[name] not in choices:
            raise unknown(name, cfg[name], list(choices))
    config = ControlConfig(
        model=cfg.model,
        tile=tile,
        context=cfg.context,
        rtg=cfg.rtg,
        past_actions=cfg.past_actions,
        positions=cfg.positions,
        dropout=cfg.dropout,
        data_episodes=cfg.get("data_episodes"),
        best_fraction=cfg.get("best_fraction", 1.0),
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        target_return=cfg.get("target_return"),
        device=device_of(cfg),
    )
    return Control(entry, load_trajectories(cfg.data, entry, weights=cfg.data_weights), config)


def check_kind(model: str, entry: EnvEntry) -> None:
    """UserError for a model that sees another kind of observations than there are, or if nothing can draw them."""
    sees, given = MODELS.get(model).sees, "pictures" if entry.pixels else "states"
    if sees != given:
        others = ", ".join(name for name in MODELS.names() if MODELS.get(name).sees == given)
        change = "leave pixels out" if entry.pixels else "add pixels=true"
        raise UserError(
            f"model={model}: sees {sees}, and env={entry.name} gives {given}; {change}, or use model={others}"
        )
    entry.check_renderer()


def name_env(cfg: Any) -> None:
    """Let ``cfg.env`` say what ``cfg.body`` and ``cfg.pixels`` do: from here on these are parts of a name."""
    if isinstance(cfg.env, str):
        env, edge = split_pixels(cfg.env)
        cfg.env = with_pixels(with_body(env, cfg.body), cfg.pixels or edge or False)
    elif any(value is not None for value in cfg.body.values()):
        raise UserError(
            f"env={list(cfg.env)}: body.* is of a single one; write names such as Hopper:torso=1.25 instead"
        )
    else:
        cfg.env = [with_pixels(split_pixels(env)[0], cfg.pixels or split_pixels(env)[1] or False) for env in cfg.env]
    cfg.pixels = False
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
    return [as_config(plain_config(cfg) | {"env": env, "data": one}) for env, one in zip(envs, data, strict=True)]


RETURN = Measure(("return_mean", "score", "return_std", "return_median"), "return")
TASKS.add("control", Kind(control_task, lambda cfg: env_entry(cfg.env).name, RETURN, "env", name_env, bodies))
