"""WeiTPolicy, for every algorithm: acts as its bank, learns, saves and loads like any other policy."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import IdentityEnvBox
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from weit_rl.agents.actor_networks import load, trained
from weit_rl.agents.sb3_policies import POLICIES
from weit_rl.agents.weit_policy import LOG_STD
from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.models import MODELS
from weit_rl.models.shipped_banks import own_bank
from weit_rl.train import main as train

BODY, ON, DQN = "HalfCheetah", ("PPO", "A2C"), "DQN"
NAMES = {algorithm.__name__: algorithm for algorithm in POLICIES}
CONTINUOUS = [name for name in NAMES if name != DQN]
QUICK = {"PPO", "SAC", DQN}  # one of each kind; the others learn by the same policies
SOME_QUICK = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
STATES = np.random.default_rng(0).normal(size=(5, 17)).astype(np.float32)


class Cheetah(gym.Env):
    """HalfCheetah's spaces without its simulator; three steps."""

    observation_space = spaces.Box(-np.inf, np.inf, (17,), np.float32)
    action_space = spaces.Box(-1, 1, (6,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.see(), {}

    def see(self):
        return self.np_random.normal(size=self.observation_space.shape).astype(np.float32)

    def step(self, action):
        self.t += 1
        return self.see(), float(np.sum(action)), False, self.t == 3, {}


class Hopper(Cheetah):
    """Another body."""

    observation_space = spaces.Box(-np.inf, np.inf, (11,), np.float32)
    action_space = spaces.Box(-2, 2, (3,), np.float32)


class Sides(gym.Env):
    """Which side is the number on? For algorithms that choose."""

    observation_space, action_space = spaces.Box(-1, 1, (1,), np.float32), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.state = 0, self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.state, {}

    def step(self, action):
        reward, self.t = float((self.state[0] > 0) == action), self.t + 1
        self.state = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.state, reward, False, self.t == 20, {}


def make(name, env=None, seed=0, kwargs=None, **policy):
    """Make an untrained agent."""
    own = {"n_steps": 8} if name in ON else {"learning_starts": 8, "batch_size": 8}
    own |= {"batch_size": 8} if name == "PPO" else {}
    env = env or (Sides() if name == DQN else Cheetah())
    policy = {"size": "32x1", **policy}
    return NAMES[name]("WeiTPolicy", env, seed=seed, device="cpu", policy_kwargs=policy, **(own | (kwargs or {})))


def bank_policy(size):
    """Return the network that the bank gives at a size."""
    bank, model = load(BODY), MODELS.get("mlp")
    source, target = (model.build(Size.parse(text), 17, 6) for text in ("128x6", size))
    return network_of_size(bank, source, target, model.plan(16).with_tiles(bank.tiles)).materialize()


@pytest.mark.parametrize("mode", ["dense", "scalers"])
@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("size", ["64x2", "96x5"])
def test_it_acts_as_the_bank_does(name, mode, size):
    agent, net = make(name, bank=BODY, size=size, mode=mode), bank_policy(size)
    states = torch.from_numpy(STATES)[:, None]
    asked = net.target_return.expand(len(states), 1)
    wanted = net(states, states, asked, asked)[:, 0].detach().numpy()
    assert np.allclose(agent.predict(STATES, deterministic=True)[0], wanted, atol=1e-5)
    assert np.abs(wanted).max() > 0.1


def test_acting_without_modules_equals_the_network():
    trunk = make("PPO", bank=BODY, size="64x2").policy.pi_features_extractor
    states, nothing = torch.from_numpy(STATES), torch.zeros(len(STATES), 1)
    found = []
    for said in (trunk(states), trunk.net(states[:, None], states[:, None], nothing, nothing, head=False)[:, 0]):
        trunk.zero_grad()
        said.square().sum().backward()
        found.append([said.detach(), *(p.grad.clone() for p in trunk.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) == 1 + len(list(trunk.parameters()))
    assert all(torch.allclose(a, b, atol=1e-6, rtol=1e-5) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "A2C"])  # A2C has RMSprop
def test_the_faster_adam_equals_that_of_stable_baselines3(name):
    env, settings = Sides() if name == DQN else Cheetah(), []
    for agent in (make(name, env), NAMES[name]("MlpPolicy", env)):
        optimizer = getattr(agent, "actor", agent.policy).optimizer
        settings.append((type(optimizer), {**optimizer.param_groups[0], "params": None, "fused": None}))
        assert optimizer.param_groups[0]["fused"] == (True if len(settings) == 1 else None)
    assert settings[0] == settings[1]


@pytest.mark.parametrize(("name", "noise_behind"), [("PPO", lambda x: x), ("SAC", np.arctanh)])
def test_a_trained_actor_explores_with_small_noise(name, noise_behind):
    agents = [make(name, bank=BODY, size="64x2", **more) for more in ({}, {"log_std_init": 0.0})]
    inside = np.abs(agents[0].predict(STATES, deterministic=True)[0]) < 0.5  # where the bounds do not cut
    drawn = [np.stack([agent.predict(STATES)[0][inside] for _ in range(400)]) for agent in agents]
    assert noise_behind(drawn[0]).std(axis=0) == pytest.approx(np.exp(LOG_STD), rel=0.2)
    assert drawn[1].std(axis=0).min() > 2 * np.exp(LOG_STD)


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_fresh_actor_explores_as_it_is_asked_to(name):
    agent = make(name, log_std_init=-1.5)
    of_each_state = name == "SAC" and agent.actor.get_action_dist_params(torch.from_numpy(STATES))[1]
    spread = of_each_state if name == "SAC" else agent.policy.log_std
    assert torch.equal(spread, torch.full_like(spread, -1.5))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_agent(name):
    states = STATES[:, :1] if name == DQN else STATES
    first, again, other = (make(name, bank=BODY, seed=seed).learn(40) for seed in (0, 0, 1))
    values = [torch.cat([p.flatten() for p in agent.policy.parameters()]) for agent in (first, again, other)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])
    assert np.array_equal(*(agent.predict(states, deterministic=True)[0] for agent in (first, again)))


@pytest.mark.parametrize("mode", ["dense", "scalers"])
@pytest.mark.parametrize("name", NAMES)
def test_saving_and_loading(name, mode, tmp_path):
    states = np.linspace(-1, 1, 9, dtype=np.float32)[:, None] if name == DQN else STATES
    agent = make(name, bank=BODY, mode=mode).learn(24)
    wanted = agent.predict(states, deterministic=True)[0]
    agent.save(tmp_path / "agent")
    agent.policy.save(tmp_path / "policy")
    loaded = [NAMES[name].load(tmp_path / "agent", device="cpu"), type(agent.policy).load(tmp_path / "policy", "cpu")]
    if mode == "dense":  # needs no bank any more
        objects = {"policy_kwargs": {**agent.policy_kwargs, "bank": None}}
        loaded.append(NAMES[name].load(tmp_path / "agent", device="cpu", custom_objects=objects))
    assert all(np.array_equal(one.predict(states, deterministic=True)[0], wanted) for one in loaded)
    assert loaded[0].set_env(agent.get_env()) is None and loaded[0].learn(8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["dense", "scalers"])
def test_each_mode_trains_its_own_parameters(name, mode):
    agent = make(name, bank=BODY, mode=mode)
    trunk = agent.policy.q_net.features_extractor if name == DQN else None
    trunk = trunk or getattr(agent.policy, "actor", agent.policy)
    trunk = getattr(trunk, "pi_features_extractor", getattr(trunk, "features_extractor", trunk))
    before = {key: value.clone() for key, value in trunk.named_parameters() if not key.startswith("net.net.")}
    agent.learn(40)
    after = dict(trunk.named_parameters())
    changed = {key for key in before if not torch.equal(after[key], before[key])}
    templates = {key for key in before if ".templates." in f".{key}"}
    assert bool(templates) == (mode == "scalers")
    assert not changed & templates and changed >= {key for key in before if "weight" in key} - templates


class Episodes(BaseCallback):
    """Counts calls."""

    def _on_step(self):
        return True


@pytest.mark.parametrize("name", SOME_QUICK)
def test_it_learns_to_repeat_its_observation(name):
    env = DummyVecEnv([Sides if name == DQN else lambda: IdentityEnvBox(eps=0.5)])
    kwargs = {"learning_rate": 3e-3, "gamma": 0.4}
    kwargs |= {"n_steps": 32} if name in ON else {"batch_size": 64, "learning_starts": 64, "buffer_size": 2000}
    kwargs |= {"batch_size": 32} if name == "PPO" else {}
    agent = make(name, env, kwargs=kwargs).learn({"A2C": 4000, "PPO": 1200}.get(name, 250), callback=Episodes())
    good = {DQN: 18}.get(name, 90)  # of 20, and of 100
    assert evaluate_policy(agent, env, n_eval_episodes=5, warn=False)[0] >= good


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_observations_may_be_normalised_outside(name, tmp_path):
    env = VecNormalize(make_vec_env(Hopper, 2))
    agent = make(name, env, bank=BODY).learn(32)
    agent.save(tmp_path / "agent")
    env.save(str(tmp_path / "env.pkl"))
    assert NAMES[name].load(tmp_path / "agent", env=env).learn(16).num_timesteps


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_new_body_takes_the_blocks_alone(name):
    agent = make(name, Hopper(), bank=BODY, size="64x2")
    actor = getattr(agent.policy, "actor", agent.policy)
    trunk = getattr(actor, "pi_features_extractor", None) or actor.features_extractor
    net = bank_policy("64x2")
    assert torch.allclose(trunk.net.blocks[1].fc1.weight, net.blocks[1].fc1.weight)
    assert trunk.net.embed_observation.weight.shape == (64, 11) and not trunk.net.observation_mean.any()
    actions = np.stack([agent.predict(100 * STATES[:, :11])[0] for _ in range(10)])
    assert np.abs(actions).max() <= 2 and np.abs(actions).max() > 0.5


def test_the_body_can_be_named():
    own, new = (make("SAC", bank=BODY, size="64x2", body=body).actor.mu.weight for body in (BODY, "new"))
    assert torch.allclose(own, bank_policy("64x2").head.weight) and not torch.allclose(own, new)


def test_a_bank_may_be_named_by_a_path_object():
    named, found = (make("SAC", bank=bank, size="64x2").actor.mu.weight for bank in (BODY, own_bank(BODY, "mlp")))
    assert torch.equal(named, found)


def test_a_checkpoint_is_a_start_too(tiny_data, tmp_path):
    from conftest import TINY

    from weit_rl.options.command import compose

    words = [*TINY, "model=mlp", "init=scratch", "size=32x2", "train_steps=3", "validation_episodes=0"]
    train(compose("train", [*words, f"data={tiny_data}", f"run_dir={tmp_path / 'run'}"]))
    agent = make("SAC", checkpoint=str(tmp_path / "run"))
    net = trained(str(tmp_path / "run"), (17, 6))[2]
    states = torch.from_numpy(STATES)[:, None]
    asked = net.target_return.expand(len(states), 1)
    wanted = net(states, states, asked, asked)[:, 0].detach().numpy()
    assert np.allclose(agent.predict(STATES, deterministic=True)[0], wanted, atol=1e-5)
    with pytest.raises(UserError, match="was trained with 17 observations and 6 actions, the environment has 11"):
        make("SAC", Hopper(), checkpoint=str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"bank": "nothing.safetensors"}, "nothing.safetensors: cannot read"),
        ({"bank": "Ant"}, r"bank=Ant: neither .* of model=mlp ships for \(HalfCheetah, Hopper, Swimmer, Walker2d\)"),
        ({"bank": "weit_rl/assets/banks/HalfCheetah.safetensors"}, "is of model=dt; WeiTPolicy takes model=mlp"),
        ({"size": "huge"}, "size"),
        ({"mode": "sparse"}, "unknown mode"),
        ({"mode": "scalers"}, "needs templates"),
        ({"bank": BODY, "body": "old"}, "unknown body"),
        ({"bank": BODY, "checkpoint": "runs/x"}, "leave one out"),
        ({"checkpoint": "runs/none"}, "runs/none"),
        ({"net_arch": [64, 64]}, "come from size="),
        ({"net_arch": {"pi": [64]}}, "come from size="),
        ({"net_arch": {"vf": [64]}}, r"give dict\(qf="),
        ({"share_features_extractor": True}, "network of their own"),
        ({"bank": BODY, "body": BODY, "env": Hopper}, "has 17 observations and 6 actions, the environment 11"),
    ],
)
def test_wrong_options_are_refused(policy, message):
    env = policy.pop("env", Cheetah)()
    with pytest.raises(UserError, match=message) as refusal:
        make("SAC", env, **policy)
    assert "\n" not in str(refusal.value)
