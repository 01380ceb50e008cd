"""Simulations that fail inside an episode: it ends there, with a warning, and whatever plays goes on."""

import gymnasium
import numpy as np
import pytest
from conftest import small_net
from gymnasium import spaces

from weit_rl.agents.evaluation import rollout
from weit_rl.agents.recording import check_played, episode_statistics, play
from weit_rl.common.errors import UserError
from weit_rl.envs.registry import EnvEntry, env_entry
from weit_rl.envs.wrapping import ends_at_crash

BOX = spaces.Box(-1, 1, (2,), np.float32)


class Broken(gymnasium.Env):
    """Fails in its fourth step, if its seed is odd, in one of several ways."""

    observation_space, action_space = spaces.Box(-np.inf, np.inf, (5,), np.float32), BOX
    how, at = "error", 4

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.steps = seed or 0, 0
        return np.zeros(5, np.float32), {}

    def step(self, action):
        self.steps += 1
        observation, reward = np.full(5, self.steps, np.float32), 1.0
        if self.steps == self.at and self.seed % 2:
            if self.how == "error":
                raise ZeroDivisionError("in the\nsolver")
            reward = np.nan if self.how == "reward" else reward
            observation[3] = {"nan": np.nan, "inf": -np.inf}.get(self.how, 0)
        return observation, reward, False, self.steps == 6, {}


def make_broken(gym_id, **kwargs):
    return Broken()


ENTRY = EnvEntry("Broken", "Broken-v0", f"{__name__}:make_broken", episode_steps=6)
WAYS = {"error": r"ZeroDivisionError: in the solver", "nan": "no number", "inf": "no number", "reward": "no number"}


@pytest.fixture(params=WAYS)
def reason(request, monkeypatch):
    monkeypatch.setattr(Broken, "how", request.param)
    return rf"Broken: the simulation failed in step 4 of an episode \(.*{WAYS[request.param]}.*\); it ends there"


def test_an_evaluation_counts_rewards_before_the_failure(reason):
    envs = [ENTRY.make() for _ in range(3)]
    with pytest.warns(RuntimeWarning, match=reason):
        assert rollout(small_net("mlp", max_steps=6), envs, [0, 1, 2]).tolist() == [6, 3, 6]


def test_an_episode_that_failed_is_not_recorded(reason):
    with pytest.warns(RuntimeWarning, match=reason):
        episodes = play(lambda seen: np.zeros((len(seen), 2)), ENTRY, [0, 1, 2])
    assert [episode.seed for episode in episodes] == [0, 2]
    assert all(len(episode.rewards) == 6 and not episode.terminated for episode in episodes)
    assert episode_statistics(episodes, 3) == {"return_mean": 6, "return_std": 0, "episodes": 2, "failed_episodes": 1}
    with pytest.raises(UserError, match="env Broken: the simulation failed in 2 of 3 episodes"):
        check_played(ENTRY, episodes[:1], 3)


def test_an_episode_without_a_single_step_is_not_recorded(monkeypatch):
    monkeypatch.setattr(Broken, "at", 1)
    with pytest.raises(UserError, match="episode of seed 3 failed in its first step"):
        play(lambda seen: np.zeros((len(seen), 2)), ENTRY, [2, 3])


@pytest.mark.filterwarnings("ignore:MuJoCo. Nan, Inf or huge value in QVEL:RuntimeWarning")  # the crash that is made
@pytest.mark.parametrize("name", ["HalfCheetah", "Hopper", "HalfCheetah:limbs=0.9", "gym:Ant-v5", "dmc/cheetah-run"])
def test_an_episode_ends_if_mujoco_resets_the_body(name):
    if name.startswith("dmc"):
        pytest.importorskip("dm_control", reason="dm_control is not installed")
    env = env_entry(name).make()
    action = np.zeros(env.action_space.shape, np.float32)
    env.reset(seed=0)
    before = env.step(action)[0]
    data = env.unwrapped.data
    (data if hasattr(data, "qvel") else data.ptr).qvel[:] = 1e12
    with pytest.warns(RuntimeWarning, match=rf"{name}: the simulation failed in step 2 of an episode \(.*"):
        observation, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated) == (0, True, False) and info["crashed"]
    assert np.array_equal(observation, before)
    first, _ = env.reset(seed=0)  # and the next episode is a good one
    assert np.isfinite(first).all() and not env.step(action)[2]


def test_a_good_step_passes_untouched():
    plain, guarded = (make(Broken()) for make in (lambda env: env, lambda env: ends_at_crash(env, "x")))
    for env in (plain, guarded):
        env.reset(seed=2)
    action = np.zeros(2, np.float32)
    for _ in range(6):
        assert all(np.array_equal(*pair) for pair in zip(plain.step(action), guarded.step(action), strict=True))
