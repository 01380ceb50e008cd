"""An environment of short episodes, and a run in it, for the tests of collect."""

import json

import pytest

from weit_rl.collect import main
from weit_rl.common.errors import UserError
from weit_rl.envs.registry import ENVS, EnvEntry
from weit_rl.options.command import compose

SHORT = EnvEntry("Short", "HalfCheetah-v5", f"{__name__}:make_short", -10.0, 10.0, episode_steps=12)
TINY = {"learning_starts": 40, "policy_kwargs": {"net_arch": [8]}, "buffer_size": 400, "batch_size": 16}
WORDS = [
    "env=Short", "steps=120", "n_envs=2", "snapshot_every=60", f"hyperparameters={json.dumps(TINY)}",
    "levels.expert=5", "levels.medium=2", "levels.random=3", "selection_episodes=1", "evaluation_episodes=2",
]  # fmt: skip


def make_short(gym_id, **kwargs):
    from weit_rl.envs.gymnasium_mujoco import make

    return make(gym_id, max_episode_steps=12, **kwargs)


@pytest.fixture
def short():
    """Add the environment to the registry for the length of a test."""
    with ENVS.temporarily({"Short": SHORT}):
        yield


def refused(run_dir, *words):
    """Return the one line that a run ends with; check that no file is made or changed."""
    before = {str(path): path.is_file() and path.read_bytes() for path in run_dir.parent.rglob("*")}
    with pytest.raises(UserError) as error:
        main(compose("collect", [*WORDS, *words, f"run_dir={run_dir}"]))
    assert {str(path): path.is_file() and path.read_bytes() for path in run_dir.parent.rglob("*")} == before
    assert "\n" not in str(error.value) and str(run_dir) in str(error.value)
    return str(error.value)
