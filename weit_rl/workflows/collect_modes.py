"""Choose the mode of ``weit_rl.collect``: train and record, record an agent, render or inspect data."""

from __future__ import annotations

from typing import Any

from weit_rl.agents.levels import LEVELS
from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.envs.config_environments import fold_body_and_pixels
from weit_rl.options.collect_options import CollectOptions
from weit_rl.options.option_table import options, value_at
from weit_rl.workflows.behaviour_run import make_behaviour_data
from weit_rl.workflows.inspect_data import inspect_data
from weit_rl.workflows.record_agent import record_agent
from weit_rl.workflows.render_data import render_data

MODES = {"train": make_behaviour_data, "record": record_agent, "render": render_data, "inspect": inspect_data}
TRAIN = ("steps", "n_envs", "snapshot_every", "hyperparameters", "selection_episodes", "evaluation_episodes")
ONLY = {  # options that other modes do not have, and the modes that do
    **dict.fromkeys((*TRAIN, *(f"levels.{level}" for level in LEVELS)), ("train",)),
    **dict.fromkeys(("agent", "vec_normalize", "allow_pickle", "deterministic"), ("record",)),
    **dict.fromkeys(("seed", "algorithm"), ("train", "record")),
    "episodes": ("record", "render"),
    "dataset_id": ("train", "record", "render"),
    "data": ("inspect", "render"),
    "run_dir": ("train", "record", "render"),
}


def collect(cfg: CollectOptions) -> dict[str, Any]:
    """Run the mode and return the numbers that it prints.

    Raises:
        UserError: for an unknown mode, an option of another mode, or anything that the mode itself refuses.
    """
    if cfg.mode not in MODES:
        raise unknown_name_error("mode", cfg.mode, list(MODES))
    check_options(cfg)
    fold_body_and_pixels(cfg)
    return MODES[cfg.mode](cfg)


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
