"""Noise that depends on the state (use_sde): as wide as it is asked for at every width, and around whole means."""

import numpy as np
import pytest
import torch
from sb3_contrib import CrossQ
from test_sb3_policies import BODY, NAMES, STATES, Hopper, bank_policy, make

from weit_rl.agents.weit_policy import LOG_STD

SDE = {name: NAMES[name] for name in ("PPO", "A2C", "SAC", "TQC")}


def drawn(agent, times=300):
    """Draw actions in five states, with fresh noise each time; before tanh if whole actions are squashed."""
    place, actions = getattr(agent, "actor", agent.policy), []
    for _ in range(times):
        place.reset_noise()
        actions.append(agent.predict(STATES)[0])
    return np.arctanh(np.clip(actions, -1 + 1e-6, 1 - 1e-6)) if agent.policy.squash_output else np.stack(actions)


def mean_of(size):
    """Return the action of the bank's own policy."""
    net, states = bank_policy(size), torch.from_numpy(STATES)[:, None]
    asked = net.target_return.expand(len(states), 1)
    return net(states, states, asked, asked)[:, 0].detach().numpy()


@pytest.mark.parametrize("size", ["64x2", "96x2"])
@pytest.mark.parametrize("name", SDE)
def test_noise_is_as_wide_at_every_width(name, size):
    agent = make(name, bank=BODY, size=size, kwargs={"use_sde": True})
    actions, wanted = drawn(agent), mean_of(size)
    inside = np.abs(wanted) < 0.5  # where the bounds do not cut
    # The length of a hidden state is the usual one of a layer norm, not that of these states.
    assert actions.std(axis=0)[inside].mean() == pytest.approx(np.exp(LOG_STD), rel=0.25)
    assert np.allclose(agent.predict(STATES, deterministic=True)[0], wanted, atol=1e-5)


@pytest.mark.parametrize("name", SDE)
def test_it_is_as_wide_as_asked(name):
    agent = make(name, log_std_init=-1.0, kwargs={"use_sde": True})
    assert drawn(agent).std(axis=0).mean() == pytest.approx(np.exp(-1.0), rel=0.15)


@pytest.mark.parametrize("more", [{}, {"full_std": False}, {"squash_output": True}, {"use_expln": True}])
def test_agents_with_options_of_ppo_act_as_the_bank(more, tmp_path):
    agent = make("PPO", bank=BODY, size="64x2", kwargs={"use_sde": True}, **more).learn(8)
    agent.save(tmp_path / "agent")
    loaded = NAMES["PPO"].load(tmp_path / "agent", device="cpu")
    assert np.array_equal(*(one.predict(STATES, deterministic=True)[0] for one in (agent, loaded)))
    fresh = make("PPO", bank=BODY, size="64x2", kwargs={"use_sde": True}, **more)
    assert np.allclose(fresh.predict(STATES, deterministic=True)[0], mean_of("64x2"), atol=1e-5)


@pytest.mark.parametrize("mode", ["dense", "scalers"])
@pytest.mark.parametrize("name", SDE)
def test_it_learns_saves_and_loads(name, mode, tmp_path):
    agent = make(name, Hopper(), bank=BODY, mode=mode, kwargs={"use_sde": True}).learn(24)
    agent.save(tmp_path / "agent")
    states, loaded = STATES[:, :11], NAMES[name].load(tmp_path / "agent", device="cpu")
    assert np.array_equal(*(one.predict(states, deterministic=True)[0] for one in (agent, loaded)))
    assert np.isfinite(agent.predict(states)[0]).all() and loaded.set_env(agent.get_env()) is None and loaded.learn(8)


def test_means_are_clipped_on_request():
    agent = make("SAC", bank=BODY, size="64x2", clip_mean=0.01, kwargs={"use_sde": True})
    assert np.abs(agent.predict(STATES, deterministic=True)[0]).max() <= np.tanh(0.01) + 1e-6


def test_crossq_has_it_too():
    env, policy = make("SAC").get_env(), {"bank": BODY, "size": "64x2"}
    agent = CrossQ("WeiTPolicy", env, use_sde=True, policy_kwargs=policy, device="cpu", buffer_size=50)
    assert np.allclose(agent.predict(STATES, deterministic=True)[0], mean_of("64x2"), atol=1e-5)
