"""Environments that normalise observations, around what normalises them itself."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize
from test_sb3_policies import BODY, CONTINUOUS, NAMES, Cheetah, Hopper, bank_policy, make
from test_sequence_agent import Walk, policy

from weit_rl.agents.outside_normaliser import outside_normaliser
from weit_rl.agents.sequence_agent import SequenceAgent
from weit_rl.common.errors import UserError


def inside(kind=Cheetah):
    """Make an environment that Gymnasium's own wrapper normalises."""
    return gym.wrappers.NormalizeObservation(kind())


ENVIRONMENTS = {
    "VecNormalize": lambda: VecNormalize(make_vec_env(Cheetah)),
    "below others": lambda: VecMonitor(VecNormalize(make_vec_env(Cheetah), norm_reward=False)),
    "Gymnasium's": inside,
}


@pytest.mark.filterwarnings("ignore:The environment is already wrapped with a `Monitor`:UserWarning")  # on purpose
@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_bank_of_the_same_body_is_refused(name, env):
    with pytest.raises(UserError, match=r"bank=HalfCheetah has a normaliser of its own, so .* twice; use") as refusal:
        make(name, ENVIRONMENTS[env](), bank=BODY)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_environments_that_do_not_normalise_twice_are_accepted(name):
    make(name, VecNormalize(make_vec_env(Cheetah), norm_obs=False), bank=BODY)
    make(name, VecNormalize(make_vec_env(Cheetah)), bank=BODY, body="new")
    make(name, VecNormalize(make_vec_env(Hopper)), bank=BODY)
    make(name, VecNormalize(make_vec_env(Cheetah)))


def test_a_checkpoint_is_refused_too(tmp_path):
    from weit_rl.training.checkpoint import save_network

    net = bank_policy("64x2")
    options = {"observation_dim": 17, "action_dim": 6, "rtg": net.rtg}
    save_network(tmp_path / "net.safetensors", net, {"model": "mlp", "size": [64, 2, 32], "options": options})
    make("SAC", checkpoint=tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"checkpoint=.*has a normaliser of its own"):
        make("SAC", ENVIRONMENTS["VecNormalize"](), checkpoint=tmp_path / "net.safetensors")


def test_an_agent_loaded_into_a_normalising_environment_warns(tmp_path):
    agent = make("PPO", bank=BODY).learn(8)
    agent.save(tmp_path / "agent")
    assert NAMES["PPO"].load(tmp_path / "agent", env=Cheetah()).learn(8)
    with pytest.warns(UserWarning, match="normalised twice"):
        loaded = NAMES["PPO"].load(tmp_path / "agent", env=ENVIRONMENTS["VecNormalize"]())
    assert loaded.learn(8)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_an_environment_set_later_is_checked_before_training(name):
    agent = make(name, bank=BODY).learn(8)
    agent.set_env(ENVIRONMENTS["VecNormalize"]())
    with pytest.warns(UserWarning, match="normalised twice") as told:
        agent.learn(16)
    assert sum("normalised twice" in str(one.message) for one in told) == 1


def test_which_environment_normalises():
    plain = make_vec_env(Cheetah)
    assert outside_normaliser(plain) is None
    assert outside_normaliser(VecFrameStack(plain, 2)) is None
    assert outside_normaliser(VecFrameStack(VecNormalize(plain), 2)) == "VecNormalize(norm_obs=True)"
    assert outside_normaliser(DummyVecEnv([inside])) == "NormalizeObservation"


def test_a_sequence_agent_refuses_normalising_environments():
    agent = SequenceAgent(policy("dt", {}))
    for env in (VecNormalize(DummyVecEnv([Walk])), DummyVecEnv([lambda: inside(Walk)])):
        with pytest.raises(UserError, match="the policy normalises observations itself"):
            agent.watch(env)


def test_a_sequence_agent_knows_the_rewards_before_they_are_scaled():
    agent = SequenceAgent(policy("dt", {}))
    env = agent.watch(VecNormalize(DummyVecEnv([Walk] * 2), norm_obs=False))
    _, state = agent.predict(env.reset())
    scaled = env.step(np.ones((2, 2)))[1]
    _, state = agent.predict(np.ones((2, 5)), state)
    assert state.returns_to_go[:, 1] == pytest.approx(500 - 100) and scaled.max() < 100
