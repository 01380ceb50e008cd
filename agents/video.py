"""One episode as an mp4."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from weit_rl.agents.contact_sheet import Film
from weit_rl.agents.evaluation import rollout
from weit_rl.envs.entry import EnvEntry
from weit_rl.envs.floor import endless_floor
from weit_rl.envs.rendering import working_renderer

PROBE = """
import sys
from weit_rl.envs.entry import env_entry
env = env_entry(sys.argv[1]).make(render_mode="rgb_array")
env.reset()
assert env.render() is not None, "it draws no pictures"
env.close()
"""


def record_video(net: nn.Module, entry: EnvEntry, seed: int, path: Path) -> Film:
    """Play one episode, write every frame, and return them small.

    Args:
        net: a plain sequence policy.
        entry: the environment's registry row.
        seed: reset seed of the episode.
        path: the mp4 to write.

    Raises:
        UserError: saying what to install or set where rendering does not work.
    """
    import imageio.v2 as imageio

    os.environ["MUJOCO_GL"] = working_renderer("video=true", PROBE, entry.name)
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
