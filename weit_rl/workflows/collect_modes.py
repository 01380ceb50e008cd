"""Choose the mode of ``weit_rl.collect``: train and record, record an expert or agent, render or inspect data."""

from __future__ import annotations

from typing import Any

from weit_rl.agents.levels import LEVELS
from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.envs.config_environments import fold_body_and_pixels
from weit_rl.envs.registry import env_entry
from weit_rl.options.collect_options import CollectOptions
from weit_rl.options.option_table import options, value_at
from weit_rl.workflows.behaviour_run import make_behaviour_data
from weit_rl.workflows.demonstrate_expert import demonstrate_expert
from weit_rl.workflows.inspect_data import inspect_data
from weit_rl.workflows.record_agent import record_agent
from weit_rl.workflows.render_data import render_data

MODES = {
    "train": make_behaviour_data,
    "demonstrate": demonstrate_expert,
    "record": record_agent,
    "render": render_data,
    "inspect": inspect_data,
}
TRAIN = ("steps", "n_envs", "snapshot_every", "hyperparameters", "selection_episodes", "evaluation_episodes")
ONLY = {  # options that other modes do not have, and the modes that do
    **dict.fromkeys((*TRAIN, *(f"levels.{level}" for level in LEVELS)), ("train",)),
    **dict.fromkeys(("agent", "vec_normalize", "allow_pickle", "deterministic"), ("record",)),
    "algorithm": ("train", "record"),
    "seed": ("train", "demonstrate", "record"),
    "noise": ("demonstrate",),
    "episodes": ("demonstrate", "record", "render"),
    "dataset_id": ("train", "demonstrate", "record", "render"),
    "data": ("inspect", "render"),
    "run_dir": ("train", "demonstrate", "record", "render"),
}


def collect(cfg: CollectOptions) -> dict[str, Any]:
    """Run the mode and return the numbers that it prints.

    Raises:
        UserError: for an unknown mode, an option of another mode, or anything that the mode itself refuses.
    """
    fold_body_and_pixels(cfg)
    cfg.mode = mode = cfg.mode or usual_mode(cfg.env)
    if mode not in MODES:
        raise unknown_name_error("mode", mode, list(MODES))
    check_options(cfg)
    if mode != "demonstrate" and not isinstance(cfg.env, str):
        raise UserError(f"env={list(cfg.env)}: mode={mode} is for a single environment; give one")
    return MODES[mode](cfg)


def usual_mode(env: Any) -> str:
    """Return the mode where none is given: an environment's scripted expert is recorded if it has one."""
    entries = [env_entry(name) for name in ([env] if isinstance(env, str) else env)]
    return "demonstrate" if all(entry.expert for entry in entries) else "train"


def check_options(cfg: CollectOptions) -> None:
    """Raise UserError for an option that is set but belongs to other modes."""
    table = options("collect")
    for name, modes in ONLY.items():
        value = value_at(cfg, name)
        if value != table[name].default and cfg.mode not in modes:
            wanted, shown = f"mode={' or '.join(modes)}", str(value).lower() if isinstance(value, bool) else value
            raise UserError(
                f"{name}={shown}: is for {wanted}, and this is mode={cfg.mode}; leave it out, or add {wanted}"
            )
