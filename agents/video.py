"""One episode as an mp4."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from weit_rl.agents.evaluation import rollout
from weit_rl.envs.entry import EnvEntry
from weit_rl.envs.rendering import working_renderer

PROBE = """
import sys
from weit_rl.envs.entry import env_entry
env = env_entry(sys.argv[1]).make(render_mode="rgb_array")
env.reset()
assert env.render() is not None, "it draws no pictures"
env.close()
"""


def record_video(net: nn.Module, entry: EnvEntry, seed: int, path: Path) -> Path:
    """Play one episode and write every frame.

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
    partial = path.with_stem(path.stem + "-partial")
    try:
        writer: Any = imageio.get_writer(partial, fps=env.metadata.get("render_fps", 30))
        with writer:
            rollout(net.eval(), [env], [seed], lambda t: writer.append_data(env.render()))
        partial.replace(path)
    finally:
        env.close()
        partial.unlink(missing_ok=True)
    return path
