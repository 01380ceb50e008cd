"""A video of one episode, as mp4."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from weit_rl.agents.contact_sheet import Film
from weit_rl.agents.evaluation import rollout
from weit_rl.common.errors import UserError
from weit_rl.envs.camera import is_mujoco
from weit_rl.envs.floor import endless_floor
from weit_rl.envs.registry import EnvEntry
from weit_rl.envs.rendering import check_draws, working_renderer

PROBE = """
import sys
from weit_rl.envs.registry import env_entry
env = env_entry(sys.argv[1]).make(render_mode="rgb_array")
env.reset()
assert env.render() is not None, "it draws no pictures"
env.close()
"""


def choose_renderer(entry: EnvEntry) -> None:
    """Set MUJOCO_GL to a renderer that draws the environment; raise UserError, with advice, if there is none."""
    try:
        os.environ["MUJOCO_GL"] = working_renderer("video=true", PROBE, entry.name)
    except UserError:
        env = entry.states.make()  # after the attempt, since a simulator chooses its renderer on import
        by_mujoco = is_mujoco(env.unwrapped)
        env.close()
        if by_mujoco:
            raise
        check_draws("video=true", PROBE, entry.name)


def record_video(net: nn.Module, entry: EnvEntry, seed: int, path: Path) -> Film:
    """Play one episode, write every frame, and return small frames.

    Args:
        net: a plain sequence policy.
        entry: the environment's registry row.
        seed: reset seed of the episode.
        path: the mp4 to write.

    Raises:
        UserError: if rendering does not work; it says what to install or set.
    """
    import imageio.v2 as imageio

    choose_renderer(entry)
    env = entry.make(render_mode="rgb_array")
    film = Film(fps=env.metadata.get("render_fps", Film.fps))
    partial = path.with_stem(path.stem + "-partial")
    try:
        writer: Any = imageio.get_writer(partial, fps=film.fps)

        def keep(step: int, returns: np.ndarray) -> None:
            with endless_floor(env):
                frame: Any = env.render()
            writer.append_data(frame)
            film.add(frame, step, float(returns[0]))

        with writer:
            rollout(net.eval(), [env], [seed], keep)
        partial.replace(path)
    finally:
        env.close()
        partial.unlink(missing_ok=True)
    return film
