"""Environments seen in pictures: names, what they give, and what draws them."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import draws
from gymnasium import spaces
from shared_envs import SUITE
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env

import weit_rl.envs.camera
from weit_rl.common.errors import UserError
from weit_rl.envs import rendering
from weit_rl.envs.camera import camera_of
from weit_rl.envs.dm_control_loading import forget_opengl
from weit_rl.envs.pixels import with_pixels
from weit_rl.envs.registry import env_entry


def test_pictures_are_part_of_a_name():
    assert with_pixels("Ant", False) == "Ant" and with_pixels("Ant:pixels=84", False) == "Ant:pixels=84"
    assert with_pixels("Ant", True) == "Ant:pixels=64" and with_pixels("Ant:pixels=84", 32) == "Ant:pixels=32"
    entry = env_entry("HalfCheetah:torso=1.25:limbs=0.75:pixels=32")
    assert (entry.name, entry.pixels, entry.stack) == ("HalfCheetah:limbs=0.75:torso=1.25:pixels=32", 32, 3)
    assert entry.states is env_entry("HalfCheetah:limbs=0.75:torso=1.25") and entry.states.states is entry.states
    assert env_entry("HalfCheetah:pixels=64").score(12135) == pytest.approx(100)
    both = entry.with_pictures_and_state
    assert both.name == f"{entry.name}+state" and both is both.with_pictures_and_state is env_entry(both.name)
    assert both.states is entry.states and both.shapes == entry.shapes and not entry.with_state
    assert [one.observation_kind for one in (entry, both, both.states)] == ["pictures", "states and pictures", "states"]
    for bad in ("8", "large", "1000", "64:torso=2", "64+states", "+state"):
        with pytest.raises(UserError, match="must be 16 to 512, at the end of the name"):
            env_entry(f"HalfCheetah:pixels={bad}")


@draws
@pytest.mark.parametrize("name", ["Reacher", pytest.param("dmc/cartpole-swingup", marks=SUITE), "Hopper:limbs=1.25"])
def test_an_environment_gives_the_last_three_frames(name):
    entry = env_entry(f"{name}:pixels=32")
    env, other = entry.make(), entry.make()
    space = spaces.Box(0, 255, (9, 32, 32), np.uint8)
    seen, _ = env.reset(seed=0)
    assert env.observation_space == space and seen in space and seen.std() > 1
    assert np.array_equal(seen[:3], seen[3:6]) and np.array_equal(seen[3:6], seen[6:])
    other.reset(seed=1)  # one camera serves both
    for _ in range(5):
        before = seen
        seen, *_ = env.step(env.action_space.high)
        other.step(other.action_space.low)
    assert np.array_equal(seen[:6], before[3:]) and not np.array_equal(seen[6:], seen[3:6])
    again, _ = env.reset(seed=0)
    assert np.array_equal(again, other.reset(seed=0)[0]) and np.array_equal(again[:3], again[6:])


@draws
@pytest.mark.parametrize("name", ["Reacher", "gym:InvertedPendulum-v5"])
def test_an_environment_gives_its_state_and_then_the_pictures(name):
    both, pictures, states = (env_entry(f"{name}{end}").make() for end in (":pixels=16+state", ":pixels=16", ""))
    assert both.observation_space.shape == (states.observation_space.shape[0] + 9 * 16 * 16,)
    seen = [env.reset(seed=3)[0] for env in (both, states, pictures)]
    for step in range(4):
        assert seen[0].dtype == np.float32 and seen[0] in both.observation_space
        assert np.array_equal(seen[0], np.concatenate([seen[1], seen[2].reshape(-1)]))
        action = np.sin(step + np.arange(both.action_space.shape[0])).astype(np.float32)
        (seen[0], reward, *_), (seen[1], *_), (seen[2], other, *_) = (e.step(action) for e in (both, states, pictures))
        assert reward == other


@draws
@pytest.mark.parametrize(("name", "period"), [("HalfCheetah", 80 / 60), ("Swimmer", 80 / 30)])
def test_the_floor_goes_along_with_a_body_that_runs_away(name, period):
    import mujoco

    env = env_entry(f"{name}:pixels=64").make()
    here, _ = env.reset(seed=0)
    inside = env.unwrapped
    for away in (75 * period, -300 * period):  # of which nothing is to be seen; the ground is drawn for 40 m and less
        position = inside.data.qpos[0]
        inside.data.qpos[0] += away
        mujoco.mj_forward(inside.model, inside.data)
        there = camera_of(f"{name}:pixels=64", inside, 64).picture(inside)
        assert np.abs(there.astype(int) - here[-3:]).mean() < 0.5 < here[-3:, 40:].std()
        inside.data.qpos[0] = position


@draws
@pytest.mark.filterwarnings("ignore:.*")
def test_stable_baselines3_takes_it_as_pictures():
    env = env_entry("Reacher:pixels=64").make()
    check_env(env)
    agent = PPO("WeiTPolicy", env, n_steps=8, batch_size=8, n_epochs=1, policy_kwargs={"size": "32x1"}, device="cpu")
    assert agent.learn(8).predict(env.reset()[0])[0].shape == (2,)


@draws
def test_only_environments_of_mujoco_have_pictures():
    entry = env_entry("gym:Pendulum-v1:pixels=64")
    for ask in (entry.make, lambda: entry.shapes):
        with pytest.raises(UserError, match="env gym:Pendulum-v1:pixels=64: pictures are drawn by MuJoCo"):
            ask()


def test_without_a_renderer_there_is_one_clear_line(monkeypatch, refused):
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    weit_rl.envs.camera.renderer.cache_clear()
    try:
        says = refused("train", "model=conv", "pixels=true", "data=x", "init=scratch")
    finally:
        weit_rl.envs.camera.renderer.cache_clear()
    assert "pixels: nothing here can render (nothing: " in says and "apt-get install libosmesa6" in says


def test_a_failed_renderer_leaves_nothing_that_keeps_others_from_working(monkeypatch):
    monkeypatch.setenv("PYOPENGL_PLATFORM", "egl")
    monkeypatch.setitem(sys.modules, "OpenGL.fake", sys)
    forget_opengl()
    assert "OpenGL.fake" not in sys.modules


def test_the_renderer_is_the_first_that_works(monkeypatch):
    tried = []

    def run(command, env, **_):
        tried.append(env["MUJOCO_GL"])
        return subprocess.CompletedProcess(command, int(env["MUJOCO_GL"] != "osmesa"), stderr="no\nno display")

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(rendering.subprocess, "run", run)
    assert rendering.working_renderer("pixels", "") == "osmesa" and tried == ["egl", "osmesa"]
