"""The modes of ``weit_rl.collect``: train a policy and record its levels, record an agent's episodes, inspect data."""

from __future__ import annotations

from typing import Any

from weit_rl.errors import UserError
from weit_rl.registry import unknown
from weit_rl.workflows.behaviour import make_behaviour_data
from weit_rl.workflows.bodies import name_body
from weit_rl.workflows.inspection import inspect_data
from weit_rl.workflows.record import record_agent

MODES = {"train": make_behaviour_data, "record": record_agent, "inspect": inspect_data}
ONLY = {"agent": "record", "vec_normalize": "record", "data": "inspect"}  # what another mode would pass over in silence


def collect(cfg: Any) -> dict[str, Any]:
    """Do what the mode says; the numbers that it prints.

    Raises:
        UserError: for an unknown mode, an option of another mode, and what the mode itself refuses.
    """
    if cfg.mode not in MODES:
        raise unknown("mode", cfg.mode, list(MODES))
    for name, mode in ONLY.items():
        if cfg[name] is not None and cfg.mode != mode:
            raise UserError(f"{name}={cfg[name]}: is for mode={mode}, and this is mode={cfg.mode}; add mode={mode}")
    name_body(cfg)
    return MODES[cfg.mode](cfg)
