"""What several tests share: small networks of every kind, tiny data, the shared real data where it is present."""

from pathlib import Path

import numpy as np
import pytest
import torch

from weit_rl.data import Trajectories
from weit_rl.envs.entry import env_entry
from weit_rl.models import MODELS
from weit_rl.sizes import Size
from weit_rl.tasks.control import Control, ControlConfig

SHARED = Path(__file__).parents[2] / "shared" / "data"
OPTIONS = {"dt": {"observation_dim": 5, "action_dim": 2, "context": 4, "max_steps": 12}}


def small_net(model="dt", width=16, depth=2, seed=0, **options):
    """A network of a registered model with 8-channel heads."""
    torch.manual_seed(seed)
    return MODELS.get(model).build(Size(width, depth, head_dim=8), **{**OPTIONS[model], **options})


def small_inputs(model="dt", batch=3, steps=4, seed=1):
    """Arguments the network takes."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn(batch, steps, 5, generator=generator)
    actions = torch.rand(batch, steps, 2, generator=generator) * 2 - 1
    times = torch.arange(steps).expand(batch, -1)
    return observations, actions, torch.rand(batch, steps, generator=generator) * 1000, times


@pytest.fixture
def task():
    """A control task on HalfCheetah-shaped data whose action is a function of the observation."""
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(160, 17)).astype(np.float32)
    actions = np.tanh(observations[:, :6] + observations[:, 6:12]).astype(np.float32)
    rewards = rng.normal(1, 0.1, 160).astype(np.float32)
    data = Trajectories(observations, actions, rewards, np.arange(0, 161, 40), {})
    return Control(env_entry("HalfCheetah"), data, ControlConfig(context=4, batch_size=8))


@pytest.fixture
def shared():
    """The folder of shared real data; users do not have it."""
    if not SHARED.is_dir():
        pytest.skip("the shared data are beside the project only where it is developed")
    return SHARED
