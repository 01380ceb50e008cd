"""A resized agent goes on where the old one was, and the usual widths can be resized."""

import numpy as np
import pytest
import torch
from stable_baselines3 import DDPG, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from test_resizing import KINDS, STATES, act, make
from test_sb3_policies import Cheetah

from weit_rl.agents.actor_layers import ActorLayers
from weit_rl.agents.actor_widths import tile_edge, widths_times
from weit_rl.agents.resizing import resized
from weit_rl.common.errors import UserError


class Rates(BaseCallback):
    """Notes how much of the training remains."""

    def __init__(self):
        super().__init__()
        self.remaining = []

    def _on_step(self):
        self.remaining.append(self.model._current_progress_remaining)
        return True


@pytest.mark.parametrize("factor", [0.5, 2])
@pytest.mark.parametrize("name", KINDS)
def test_steps_and_schedules_continue(name, factor):
    agent = make(name)
    new = resized(agent, factor, STATES, steps=0)
    assert new.num_timesteps == agent.num_timesteps == 24 and new._n_updates == agent._n_updates > 0
    assert list(new.ep_info_buffer) == list(agent.ep_info_buffer) != []
    rates = Rates()
    new.learn(24, callback=rates, reset_num_timesteps=False)
    assert new.num_timesteps == 48 and rates.remaining[0] < 0.6  # of 48 steps, 24 were done
    assert len(new.ep_info_buffer) > len(agent.ep_info_buffer)


@pytest.mark.parametrize("name", ["SAC", "TD3"])
def test_the_replay_buffer_stays(name):
    agent = make(name)
    new = resized(agent, 2, STATES, steps=0)
    assert new.replay_buffer is agent.replay_buffer and new.replay_buffer.size() == 24
    assert new.buffer_size == agent.buffer_size == 500
    new.learn(8, reset_num_timesteps=False)
    assert new.replay_buffer.size() == 32


@pytest.mark.parametrize("name", KINDS)
def test_critics_keep_the_moments_of_their_optimizer(name):
    agent = make(name)
    new = resized(agent, 2, STATES, steps=0)
    pairs = [(part.policy.state_dict(keep_vars=True), place) for part in (agent, new)
             for place in [getattr(part, "critic", part.policy).optimizer.state]]  # fmt: skip
    (old_parameters, old), (new_parameters, kept) = pairs
    critics = [key for key in old_parameters if key.startswith(("critic.", "value_net", "mlp_extractor.value"))]
    for key in critics:
        before, after = old[old_parameters[key]], kept[new_parameters[key]]
        assert before and all(torch.equal(torch.as_tensor(before[n]), torch.as_tensor(after[n])) for n in before)
        assert all(before[n] is not after[n] for n in before if torch.is_tensor(before[n]))


def test_the_users_logger_stays(tmp_path):
    agent = make("PPO")
    agent.set_logger(configure(str(tmp_path), ["csv"]))
    assert resized(agent, 2, STATES, steps=0).logger is agent.logger


@pytest.mark.parametrize("kind", [TD3, DDPG])
@pytest.mark.parametrize(("factor", "widths"), [(2, [800, 600]), (0.5, [200, 150])])
def test_the_usual_widths_can_be_doubled_and_halved(kind, factor, widths):
    agent = kind("MlpPolicy", Cheetah(), seed=0, device="cpu", buffer_size=100)
    new = resized(agent, factor, STATES, steps=0)
    assert [layer.out_features for layer in ActorLayers.of(new).hidden] == widths
    assert np.allclose(act(new), act(agent), atol=1e-5) == (factor == 2)


@pytest.mark.parametrize(("old", "new", "edge"), [(300, 600, 15), (400, 800, 16), (17, 34, 1), (24, 12, 12)])
def test_a_tile_divides_both_widths(old, new, edge):
    assert tile_edge(old, new) == edge


def test_a_factor_without_whole_channels_is_refused_with_the_nearest_good_one():
    with pytest.raises(
        UserError, match=r"factor=0.333: makes 400 channels 133.2; .* 1/100, such as 0.33 or 0.34"
    ) as no:
        widths_times([400, 300], 0.333)
    assert "\n" not in str(no.value)
    assert widths_times([400, 300], 0.33) == [132, 99] and widths_times([400, 300], 0.29) == [116, 87]
    with pytest.raises(UserError, match=r"such as 0\.0625 or"):
        widths_times([64, 48], 1e-4)
