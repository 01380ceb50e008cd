"""The modes of ``weit_rl.collect``: train a policy and record its levels, record an agent, draw or inspect data."""

from __future__ import annotations

from typing import Any

from weit_rl.envs.of_config import name_env
from weit_rl.errors import UserError
from weit_rl.registry import unknown
from weit_rl.workflows.behaviour import make_behaviour_data
from weit_rl.workflows.inspection import inspect_data
from weit_rl.workflows.record import record_agent
from weit_rl.workflows.render import render_data

MODES = {"train": make_behaviour_data, "record": record_agent, "render": render_data, "inspect": inspect_data}
ONLY = {  # what another mode would pass over in silence
    "agent": ("record",),
    "vec_normalize": ("record",),
    "data": ("inspect", "render"),
}


def collect(cfg: Any) -> dict[str, Any]:
    """Do what the mode says; the numbers that it prints.

    Raises:
        UserError: for an unknown mode, an option of another mode, and what the mode itself refuses.
    """
    if cfg.mode not in MODES:
        raise unknown("mode", cfg.mode, list(MODES))
    for name, modes in ONLY.items():
        if cfg[name] is not None and cfg.mode not in modes:
            wanted = f"mode={' or '.join(modes)}"
            raise UserError(f"{name}={cfg[name]}: is for {wanted}, and this is mode={cfg.mode}; add {wanted}")
    name_env(cfg)
    return MODES[cfg.mode](cfg)
