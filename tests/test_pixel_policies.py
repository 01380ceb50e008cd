"""Policies that see pictures: their networks, agents of Stable-Baselines3, and what they cannot see."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import TINY, draws, small_net
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.models import MODELS


@pytest.mark.parametrize("edge", [16, 20, 64, 84])
@torch.no_grad()
def test_tubelets_cover_pictures_of_any_size(edge):
    net = small_net("video", observation_dim=[9, edge, edge]).eval()
    inputs, seen = (torch.zeros(1, 1, 2), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long)), set()
    dark = torch.zeros(1, 1, 9, edge, edge, dtype=torch.uint8)
    for place in (0, edge - 1):
        lit = dark.clone()
        lit[..., place, place] = 255
        seen.add(round(float((net(lit, *inputs) - net(dark, *inputs)).abs().sum()), 7))
    assert len(seen) == 2 and 0 not in seen


def test_networks_do_not_depend_on_the_size_of_pictures():
    net = small_net("conv").eval()
    inputs = torch.zeros(1, 1, 2), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long)
    for edge in (16, 64, 84):
        assert net(torch.full((1, 1, 9, edge, edge), 200, dtype=torch.uint8), *inputs).shape == (1, 1, 2)


class Screen(gym.Env):
    """Pictures without a simulator; three steps."""

    observation_space, action_space = spaces.Box(0, 255, (9, 64, 64), np.uint8), spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.see(), {}

    def see(self):
        return self.np_random.integers(0, 256, (9, 64, 64), np.uint8)

    def step(self, action):
        self.t += 1
        return self.see(), 1.0, False, self.t == 3, {}


class Buttons(Screen):
    """For algorithms that choose."""

    action_space = spaces.Discrete(2)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Make an untrained bank of pictures, and its network at 64x2."""
    family, path = MODELS.get("conv"), tmp_path_factory.mktemp("bank") / "bank.safetensors"
    options = {"observation_dim": [9, 64, 64], "action_dim": 2, "rtg": "none"}
    plan, net = family.plan(16), family.build(Size(32, 2), **options)
    torch.nn.init.normal_(net.head.weight, std=1.0)
    bank = TemplateBank.from_plan(plan, 4)
    bank.source = {f"own.{key}": value.detach() for key, value in WeiT(net, bank, plan).own().items()}
    bank.source |= {f"buffer.{name}": value for name, value in net.named_buffers()}
    bank.card |= {"size": [32, 2, 32], "sizes_sampled": ["32x2"], "model": "conv", "config": {"rtg": "none"}}
    bank.save(path)
    return path, network_of_size(bank, net, family.build(Size(64, 2), **options), plan).materialize()


@pytest.mark.parametrize("mode", ["dense", "scalers"])
@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_an_actor_of_stable_baselines3_sees_what_its_bank_saw(algorithm, mode, bank):
    path, net = bank
    own = {"n_steps": 8, "batch_size": 8, "n_epochs": 1} if algorithm is PPO else {"buffer_size": 50}
    start = {"bank": str(path), "size": "64x2", "mode": mode}
    agent = algorithm("WeiTPolicy", Screen(), policy_kwargs=start, device="cpu", **own)
    seen = np.random.default_rng(0).integers(0, 256, (3, 9, 64, 64), np.uint8)
    nothing = torch.zeros(3, 1, 2), torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.long)
    wanted = net(torch.from_numpy(seen)[:, None], *nothing)[:, 0].detach().numpy()
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(agent.predict(seen, deterministic=True)[0], wanted, atol=1e-4)


def test_dqn_chooses_by_pictures(bank):
    agent = DQN(
        "WeiTPolicy", Buttons(), policy_kwargs={"bank": str(bank[0]), "size": "32x1"}, buffer_size=50, device="cpu"
    )
    assert agent.predict(Screen().reset(seed=0)[0])[0] in (0, 1)


def test_a_bank_of_states_is_refused_for_pictures():
    with pytest.raises(UserError, match="is of model=mlp; WeiTPolicy takes model=conv or convnext_policy here"):
        PPO("WeiTPolicy", Screen(), policy_kwargs={"bank": "weit_rl/assets/banks/HalfCheetah-mlp.safetensors"})


@draws
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["model=multimodal"],
            "model=multimodal: sees states and pictures, and env=HalfCheetah gives states; add pixels=true, or use",
        ),
        (
            ["model=conv"],
            "model=conv: sees pictures, and env=HalfCheetah gives states; add pixels=true, or use model=dt,",
        ),
        (
            ["pixels=true"],
            "model=dt: sees states, and env=HalfCheetah:pixels=64 gives pictures; leave pixels out, or use",
        ),
        (["model=conv", "pixels=true"], "data='expert': neither a file"),
        (["pixels=8"], "must be 16 to 512"),
        (["pixels=yes"], "pixels=yes: must be true, false or a number of pixels such as 84"),
    ],
)
def test_observations_that_a_policy_cannot_see_are_refused(refused, words, says):
    assert says in refused("train", *TINY, *words, "init=scratch")


@draws
def test_a_policy_that_cannot_see_is_refused_before_a_missing_bank(refused):
    assert "model=conv: sees pictures" in refused("train", "env=Hopper", "model=conv")
