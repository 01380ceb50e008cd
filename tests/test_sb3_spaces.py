"""WeiTPolicy in spaces of every kind that Stable-Baselines3's own policies take, and features extractors before it."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from test_sb3_policies import BODY, NAMES, Cheetah, bank_policy, make

from weit_rl.agents.actor_networks import load
from weit_rl.agents.sb3_policies import POLICIES
from weit_rl.agents.sequence_agent import SequenceAgent
from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.envs.action_box import ActionBox
from weit_rl.models.conv import Conv

MOST = float(np.finfo(np.float32).max)
POSE = {"place": spaces.Box(-1, 1, (2, 3), np.float32), "gear": spaces.Discrete(4)}
SPACES = {
    "discrete": spaces.Discrete(5),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary([2, 2]),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "float picture": spaces.Box(0, 1, (2, 8, 8), np.float32),
    "integers": spaces.Box(0, 9, (3,), np.int64),
    "dict": spaces.Dict(POSE),
    "dict with a picture": spaces.Dict({**POSE, "screen": spaces.Box(0, 255, (1, 36, 36), np.uint8)}),
    "no range": spaces.Box(np.array([0, -1], np.float32), np.array([0, 1], np.float32)),
    "the ends of float32": spaces.Box(-MOST, MOST, (3,), np.float32),
}


class Anything(gym.Env):
    """Samples of a space; four steps, with actions that must be numbers within their bounds."""

    def __init__(self, seen, actions):
        self.observation_space, self.action_space = seen, actions
        self.observation_space.seed(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        return self.observation_space.sample(), float(np.mean(action)), False, self.t == 4, {}


def learned(name, env, **more):
    """Return an agent after a few steps."""
    own = {"n_steps": 8} if name in ("PPO", "A2C") else {"learning_starts": 4, "batch_size": 4, "buffer_size": 50}
    agent = make(name, env, kwargs=own, **more).learn(16)
    assert all(torch.isfinite(parameter).all() for parameter in agent.policy.parameters())
    return agent


@pytest.mark.parametrize("space", [name for name in SPACES if name != "the ends of float32"])
@pytest.mark.parametrize("name", ["PPO", "SAC", "TD3", "DQN"])
def test_it_learns_in_what_the_usual_policies_learn_in(name, space, tmp_path):
    actions = spaces.Discrete(3) if name == "DQN" else spaces.Box(-2, 2, (2,), np.float32)
    env = Anything(SPACES[space], actions)
    agent = learned(name, env)
    seen = env.observation_space.sample()
    wanted = agent.predict(seen, deterministic=True)[0]
    agent.save(tmp_path / "agent")
    agent.policy.save(tmp_path / "policy")
    loaded = NAMES[name].load(tmp_path / "agent", device="cpu"), type(agent.policy).load(tmp_path / "policy", "cpu")
    for other in loaded:
        assert np.array_equal(other.predict(seen, deterministic=True)[0], wanted)


@pytest.mark.parametrize("name", ["PPO", "A2C"])
def test_bounds_at_the_ends_of_float32_give_numbers(name):
    env = Anything(SPACES["the ends of float32"], spaces.Box(-1, 1, (2,), np.float32))
    agent = learned(name, env)
    assert np.isfinite(agent.predict(env.observation_space.sample(), deterministic=True)[0]).all()


@pytest.mark.parametrize("name", ["PPO", "A2C"])
@pytest.mark.parametrize("low", [0.5, -MOST])
def test_an_action_whose_bounds_say_nothing_passes(name, low):
    actions = spaces.Box(np.array([-2, low], np.float32), np.array([2, max(low, -low)], np.float32))
    agent = learned(name, Anything(SPACES["matrix"], actions))
    deviation = agent.policy.log_std.exp().tolist()
    assert deviation == pytest.approx([2.0, 1.0], rel=0.05)  # what Stable-Baselines3 begins with, in units of a reach


@pytest.mark.parametrize("kind", [SAC, TD3, DDPG])
@pytest.mark.parametrize("low", [0.5, -MOST])
def test_algorithms_that_scale_actions_refuse_such_bounds(kind, low):
    actions = spaces.Box(np.array([-2, low], np.float32), np.array([2, max(low, -low)], np.float32))
    with pytest.raises(UserError, match=r"action space: number 1 has the bounds .* cannot scale") as refusal:
        kind("WeiTPolicy", Anything(SPACES["matrix"], actions), policy_kwargs={"size": "32x1"}, device="cpu")
    assert "\n" not in str(refusal.value)


def test_the_ends_of_float32_bound_no_action():
    ends = np.full(2, MOST, np.float32)
    assert not ActionBox(-ends, ends).is_bounded and ActionBox(-ends / 4, ends / 4).is_bounded
    with pytest.raises(UserError, match="has no bounds to scale it to"):
        env = make("PPO", Anything(spaces.Box(-1, 1, (17,), np.float32), spaces.Box(-MOST, MOST, (6,), np.float32)))
        SequenceAgent(bank_policy("64x2")).watch(env.get_env())


def test_a_dict_is_laid_in_a_row_as_gymnasium_does():
    agent, space = make("SAC", Anything(SPACES["dict"], Cheetah.action_space)), SPACES["dict"]
    trunk, seen = agent.actor.features_extractor, space.sample()
    row = torch.from_numpy(spaces.flatten(space, seen)).float()
    found = agent.policy.obs_to_tensor(seen)[0]
    assert torch.allclose(agent.actor.extract_features(found, trunk)[0], trunk.net.features(row[None])[0], atol=1e-6)


class GoalOfACheetah(Cheetah):
    """The same numbers in two parts."""

    observation_space = spaces.Dict(
        {name: spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in (("achieved", 9), ("joints", 8))}
    )

    def see(self):
        return self.observation_space.sample()


def test_a_dict_of_the_banks_own_numbers_acts_as_the_bank():
    agent, seen = make("SAC", GoalOfACheetah(), bank=BODY, size="64x2"), GoalOfACheetah.observation_space.sample()
    net, states = bank_policy("64x2"), torch.from_numpy(np.concatenate([seen["achieved"], seen["joints"]]))[None, None]
    asked = net.target_return.expand(1, 1)
    wanted = net(states, states, asked, asked)[0, 0].detach().numpy()
    assert np.allclose(agent.predict(seen, deterministic=True)[0], wanted, atol=1e-5)


def test_hindsight_of_goals():
    agent = SAC(
        "WeiTPolicy",
        BitFlippingEnv(n_bits=3, continuous=True, max_steps=3),
        replay_buffer_class=HerReplayBuffer,
        policy_kwargs={"size": "32x1"},
        learning_starts=8,
        batch_size=8,
        device="cpu",
    )
    assert agent.learn(20).num_timesteps == 20


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
@pytest.mark.parametrize(("most", "scale"), [(1.0, 255.0), (255.0, 1.0)])
def test_pictures_scaled_beforehand_are_seen_as_pictures(algorithm, most, scale):
    actions = spaces.Discrete(2) if algorithm == "DQN" else Cheetah.action_space
    seen = spaces.Box(0, most, (2, 40, 40), np.float32)
    more = {"normalize_images": False, "features_extractor_kwargs": {"features_dim": 32}}
    agent = learned(algorithm, Anything(seen, actions), **more)
    trunk = agent.q_net.features_extractor if algorithm == "DQN" else agent.policy.pi_features_extractor
    assert isinstance(trunk.net, Conv) and trunk.scale == scale
    assert algorithm == "DQN" or agent.policy.vf_features_extractor.features_dim == 32


class Half(BaseFeaturesExtractor):
    """Every second number, weighted."""

    def __init__(self, space, features_dim=17):
        super().__init__(space, features_dim)
        self.linear = torch.nn.Linear(int(np.prod(space.shape)) // 2, features_dim)

    def forward(self, observations):
        return self.linear(observations.flatten(1)[:, ::2])


@pytest.mark.parametrize("name", NAMES)
def test_a_features_extractor_of_ones_own_stands_before_the_actor(name):
    actions = spaces.Discrete(3) if name == "DQN" else Cheetah.action_space
    env = Anything(spaces.Box(-1, 1, (4, 4), np.float32), actions)
    agent = learned(name, env, bank=BODY, features_extractor_class=Half)
    place = agent.q_net if name == "DQN" else getattr(agent, "actor", agent.policy)
    trunk = getattr(place, "pi_features_extractor", place.features_extractor)
    assert isinstance(trunk.front, Half) and not trunk.net.observation_mean.any()  # 17 features are no body's numbers
    assert trunk.linear is trunk.front.linear  # as in a policy whose features extractor it is
    wanted = trunk.front.linear.weight.grad
    assert wanted is not None and wanted.abs().max() > 0
    seen = env.observation_space.sample()
    other = seen + np.float32(0.5) * (np.arange(16).reshape(4, 4) % 2).astype(np.float32)  # what it does not look at
    assert np.array_equal(*(agent.predict(each, deterministic=True)[0] for each in (seen, other)))


@pytest.mark.parametrize(
    ("space", "policy", "message"),
    [
        (spaces.Tuple((spaces.Discrete(2),)), {}, "FlattenObservation"),
        (spaces.Dict({"name": spaces.Text(3)}), {}, "FlattenObservation"),
        (SPACES["matrix"], {"features_extractor_kwargs": {"features_dim": 8}}, "no features extractor; leave it out"),
        (spaces.Box(0, 1, (36, 36, 3), np.float32), {"normalize_images": False}, "have their channels first"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(space, policy, message):
    with pytest.raises(UserError, match=message) as refusal:
        POLICIES[PPO](space, Cheetah.action_space, lambda _: 1e-3, size="32x1", **policy)
    assert "\n" not in str(refusal.value)


def test_a_bank_of_pictures_for_pictures_scaled_beforehand_says_how(tmp_path):
    bank: TemplateBank = load(BODY)
    bank.card["model"] = "conv"
    bank.save(tmp_path / "bank.safetensors")
    with pytest.raises(UserError, match="need normalize_images=False"):
        make("PPO", Anything(SPACES["float picture"], Cheetah.action_space), bank=tmp_path / "bank.safetensors")


def test_the_usual_extractor_named_changes_nothing():
    plain, named = (make("DQN", **more) for more in ({}, {"features_extractor_class": FlattenExtractor}))
    assert plain.policy.state_dict().keys() == named.policy.state_dict().keys()
    assert isinstance(named, DQN) and named.q_net.features_extractor.front is None


def test_stacked_bytes_have_their_channels_first_whatever_their_number():
    seen = spaces.Box(0, 255, (50, 41, 40), np.uint8)
    policy = POLICIES[PPO](seen, Cheetah.action_space, lambda _: 1e-3, size="32x1")
    assert isinstance(policy.pi_features_extractor.net, Conv)
