"""The environments that the tests look at, and the one line of a refusal."""

import importlib.util

import pytest

from weit_rl.common.errors import UserError
from weit_rl.envs.gymnasium_mujoco import EPISODE_STEPS

MUJOCO = list(EPISODE_STEPS)
METAWORLD = pytest.mark.skipif(importlib.util.find_spec("metaworld") is None, reason="metaworld is not installed")
SUITE = pytest.mark.skipif(importlib.util.find_spec("dm_control") is None, reason="dm_control is not installed")


def refusal(call, *args):
    with pytest.raises(UserError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)
