"""Stable-Baselines3 agents of another width."""

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from test_sb3_policies import Cheetah, Sides

from weit_rl.agents.actor_layers import ActorLayers
from weit_rl.agents.resizing import collect_observations, imitation, resized
from weit_rl.common.errors import UserError

KINDS = {"PPO": PPO, "A2C": A2C, "SAC": SAC, "TD3": TD3}
STATES = np.random.default_rng(1).normal(size=(600, 17)).astype(np.float32)


def make(name, **policy):
    more = {"n_steps": 8} if name in ("PPO", "A2C") else {"learning_starts": 8, "batch_size": 8, "buffer_size": 500}
    more |= {"batch_size": 8} if name == "PPO" else {}
    net_arch = {"pi": [32, 64], "vf": [24]} if name in ("PPO", "A2C") else {"pi": [32, 64], "qf": [24]}
    policy = {"net_arch": net_arch, **policy}
    return KINDS[name]("MlpPolicy", Cheetah(), policy_kwargs=policy, seed=0, device="cpu", gamma=0.9, **more).learn(24)


def act(agent):
    return agent.predict(STATES[:50], deterministic=True)[0]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("factor", [2, 3])
def test_a_wider_agent_acts_as_before_without_a_step(name, factor):
    agent = make(name)
    wide = resized(agent, factor, STATES, steps=0)
    assert np.allclose(act(wide), act(agent), atol=1e-5)
    assert [layer.out_features for layer in ActorLayers.of(wide).hidden] == [32 * factor, 64 * factor]
    assert wide.gamma == 0.9 and wide.policy_kwargs["net_arch"]["pi"] == [32 * factor, 64 * factor]


@pytest.mark.parametrize("name", KINDS)
def test_a_narrower_agent_is_fitted_then_trained(name):
    agent = make(name)
    with torch.no_grad():  # a fresh actor hardly does anything
        for head in ActorLayers.of(agent).heads:
            head.weight.normal_(0, 0.3)
    slim, trained = (resized(agent, 0.5, STATES, steps=steps) for steps in (0, 200))
    errors = [np.square(act(one) - act(agent)).mean() for one in (slim, trained)]
    assert errors[1] < errors[0] < 0.5 * np.var(act(agent), axis=0).mean()
    assert [layer.out_features for layer in ActorLayers.of(slim).hidden] == [16, 32]


@pytest.mark.parametrize("name", KINDS)
def test_a_resized_agent_keeps_its_critics_learns_and_saves(name, tmp_path):
    agent = make(name)
    wide = resized(agent, 2, STATES, steps=0)
    old, new = agent.policy.state_dict(), wide.policy.state_dict()
    judges = [key for key in old if "critic" in key or "value_net" in key or "vf" in key]
    assert judges and all(torch.equal(old[key], new[key]) for key in judges)
    if name == "TD3":
        assert all(map(torch.equal, wide.actor.parameters(), wide.actor_target.parameters()))
    wide.learn(24).save(tmp_path / "wide")
    assert np.array_equal(act(KINDS[name].load(tmp_path / "wide", device="cpu")), act(wide))


def test_training_reduces_the_error():
    agent = make("SAC")
    teacher, states = ActorLayers.of(agent), torch.from_numpy(STATES)
    students = [ActorLayers.of(resized(agent, 0.5, STATES, steps=steps)) for steps in (0, 50, 300)]
    errors = [imitation(teacher, student, states, 9).item() for student in students]
    assert errors[2] < errors[1] < errors[0]


def test_the_observations_of_an_agent_are_recorded():
    agent = make("PPO")
    seen = collect_observations(agent, agent.get_env(), 40)
    assert seen.shape == (40, 17) and seen.dtype == np.float32 and len(np.unique(seen, axis=0)) == 40


def test_agents_that_cannot_be_resized_are_refused():
    with pytest.raises(UserError, match=r"makes 64 channels 19.2; give one that .* 1/16, such as 0.25 or 0.3125"):
        resized(make("SAC", net_arch={"pi": [64, 48], "qf": [8]}), 0.3, STATES)
    with pytest.raises(UserError, match="no actor of its own"):
        resized(DQN("MlpPolicy", Sides(), buffer_size=100), 2, STATES)
    with pytest.raises(UserError, match="only actors that are an MLP"):
        resized(make("SAC", net_arch={"pi": [], "qf": [8]}), 2, STATES)
    agent = make("SAC")
    with pytest.raises(UserError, match=r"observations=\(600, 5\): must be \(n, 17\), what the agent sees"):
        resized(agent, 2, STATES[:, :5])
    agent.env = None
    with pytest.raises(UserError, match=r"SAC: has no environment; load it with one, SAC.load\(PATH, env=ENV\)"):
        resized(agent, 2, STATES)


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_noise_that_depends_on_the_state_is_refused(name):
    agent = KINDS[name]("MlpPolicy", Cheetah(), policy_kwargs={"net_arch": [32, 32]}, use_sde=True, device="cpu")
    for factor in (0.5, 2):
        with pytest.raises(UserError, match=f"{name}: explores with use_sde=True, which is not resized"):
            resized(agent, factor, STATES)


@pytest.mark.parametrize("name", KINDS)
def test_an_actor_from_a_bank_is_refused(name):
    agent = KINDS[name]("WeiTPolicy", Cheetah(), policy_kwargs={"size": "32x1"}, device="cpu")
    with pytest.raises(UserError, match="WeiTPolicy is made from its bank or checkpoint at another size="):
        resized(agent, 2, STATES)
