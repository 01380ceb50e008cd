"""One episode as an mp4."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from weit_rl.agents.evaluation import rollout
from weit_rl.envs.entry import EnvEntry
from weit_rl.errors import UserError

HELP = (
    "video=true: nothing here can render ({error}); on a machine without a screen set MUJOCO_GL=egl (GPU) or "
    "MUJOCO_GL=osmesa (needs: apt-get install libosmesa6)"
)


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

    env = _rendering_env(entry, seed)
    try:
        partial = path.with_stem(path.stem + "-partial")
        writer: Any = imageio.get_writer(partial, fps=env.metadata["render_fps"])
        with writer:
            rollout(net.eval(), [env], [seed], lambda t: writer.append_data(env.render()))
        partial.replace(path)
    finally:
        env.close()
    return path


def _rendering_env(entry: EnvEntry, seed: int) -> Any:
    """An environment that has shown one picture, so that a missing renderer is found before anything is written."""
    if not os.environ.get("MUJOCO_GL") and not os.environ.get("DISPLAY"):
        os.environ["MUJOCO_GL"] = "egl"
    try:
        env = entry.make(render_mode="rgb_array")
        env.reset(seed=seed)
        env.render()
    except Exception as error:  # every renderer fails in its own way
        raise UserError(
            HELP.format(error=str(error).splitlines()[0] if str(error) else type(error).__name__)
        ) from error
    return env
