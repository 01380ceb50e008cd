"""Environments: every registered one, and how they are found."""

import importlib.util
import os
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import weit_rl.envs
from weit_rl.envs.action_box import ActionBox
from weit_rl.envs.entry import ENVS, EnvEntry, env_entry, load_families
from weit_rl.envs.gymnasium_mujoco import EPISODE_STEPS
from weit_rl.envs.mujoco_warnings import on_warning
from weit_rl.envs.reference_returns import REFERENCES
from weit_rl.errors import UserError

LISTED = load_families().names()
MUJOCO = list(EPISODE_STEPS)
SUITE = pytest.mark.skipif(importlib.util.find_spec("dm_control") is None, reason="dm_control is not installed")
# One of each kind: plain, bounds that differ between actions, observations with single numbers, sparse, early end.
KINDS = ("cheetah-run", "quadruped-walk", "walker-walk", "reacher-easy", "point_mass-hard")
DMC_CHEETAH = pytest.param("dmc/cheetah-run", marks=SUITE)
NAMES = [*MUJOCO, *(pytest.param(f"dmc/{kind}", marks=SUITE) for kind in KINDS)]
NAMES += ["gym:Pendulum-v1", "gym:MountainCarContinuous-v0", "gym:Ant-v5", "HalfCheetah:segments=2:torso=1.25"]
SCALED = ["Humanoid", "HumanoidStandup", "Pusher", "InvertedPendulum", "gym:Pendulum-v1"]
SCALED += [pytest.param("dmc/quadruped-walk", marks=SUITE)]


def run(code, folder, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MUJOCO_GL")}
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, env=environment | variables)


def test_a_renderer_that_is_not_there_is_one_line(tmp_path):
    code = "from weit_rl.envs.entry import env_entry\nenv_entry('Hopper').make()"
    done = run(code, tmp_path, MUJOCO_GL="nothing")
    assert "UserError: env Hopper-v5: MUJOCO_GL=nothing does not work here; unset it" in done.stderr


def refusal(call, *args):
    with pytest.raises(UserError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_makes_flat_float32_observations_and_acts_in_minus_one_to_one(name):
    entry = env_entry(name)
    env = entry.make()
    observation, _ = env.reset(seed=3)
    stepped = env.step(env.action_space.sample())[0]
    assert env.observation_space.dtype == observation.dtype == stepped.dtype == np.float32
    assert env.observation_space.contains(observation) and observation.ndim == 1
    assert env.action_space == spaces.Box(-1, 1, (entry.sizes[1],), np.float32)
    assert entry.own_spaces == (env.observation_space, env.unwrapped.action_space)
    assert entry.sizes == (observation.shape[0], env.unwrapped.action_space.shape[0])
    assert env.spec.max_episode_steps == entry.episode_steps
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_episode(name):
    env, other = env_entry(name).make(), env_entry(name).make()
    first = env.reset(seed=5)[0]
    assert np.array_equal(first, other.reset(seed=5)[0]) and not np.array_equal(first, other.reset(seed=6)[0])
    assert np.array_equal(first, env.reset(seed=5)[0])


# --- actions


class Told(gymnasium.Env):
    """Remembers the last action; its bounds and observations are the caller's."""

    observation_space = spaces.Box(-1, 1, (2, 3))

    def __init__(self, action_space, observation_space=observation_space):
        self.action_space, self.observation_space = action_space, observation_space

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        self.told = action
        return self.observation_space.sample(), 0.0, False, False, {}


def told(action_space, monkeypatch, **others):
    """The entry of an environment with these spaces."""
    monkeypatch.setattr(sys.modules[__name__], "make_told", lambda _: Told(action_space, **others), raising=False)
    return EnvEntry("Told", "Told-v0", f"{__name__}:make_told")


@pytest.mark.parametrize("name", SCALED)
def test_actions_go_into_the_bounds_and_back(name):
    entry = env_entry(name)
    own, box = entry.own_spaces[1], entry.action_box
    one = np.ones(own.shape, np.float32)
    assert np.allclose(box.own(one), own.high, rtol=1e-6) and np.allclose(box.own(-one), own.low, rtol=1e-6)
    actions = np.random.default_rng(0).uniform(-1, 1, (1000, len(one))).astype(np.float32)
    scaled = box.own(np.concatenate([actions, [one], [-one]]))
    assert scaled.dtype == np.float32 and all(own.contains(action) for action in scaled)
    assert np.allclose(box.unit(scaled[:1000]), actions, atol=1e-6)
    assert (abs(box.unit(np.array([own.high * 2]))) > 1).all()


def test_the_environment_is_told_actions_in_its_own_units(monkeypatch):
    env = told(spaces.Box(np.float32([-1, 0]), np.float32([1, 4])), monkeypatch).make()
    assert env.action_space == spaces.Box(-1, 1, (2,))
    for action, expected in (([1, 1], [1, 4]), ([-1, -1], [-1, 0]), ([0.5, 0], [0.5, 2])):
        env.step(np.float32(action))
        assert env.unwrapped.told.tolist() == expected
    assert env.reset()[0].shape == (6,)  # boxes of other shapes are laid flat


def test_where_the_bounds_are_one_nothing_is_touched(monkeypatch):
    entry = told(spaces.Box(-1, 1, (2,)), monkeypatch)
    env, action = entry.make(), np.float32([0.1, -0.7])
    env.step(action)
    assert env.unwrapped.told is action
    assert entry.action_box.own(action) is action and entry.action_box.unit(action) is action


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (spaces.Discrete(3), r"its actions are Discrete\(3\)"),
        (spaces.Box(-1, 1, (2, 2)), "its actions are Box"),
        (spaces.Box(-np.inf, np.inf, (2,)), r"its actions lie in \[-inf, inf\], .* finite bounds"),
        (spaces.Box(np.float32([-1, -1]), np.float32([1, np.inf])), r"its actions lie in \[-1, 1\] and \[-1, inf\]"),
    ],
)
def test_actions_no_policy_here_can_have_are_refused(monkeypatch, space, says):
    entry = told(space, monkeypatch)
    for call in (entry.make, lambda: entry.sizes):
        with pytest.raises(UserError, match=f"env Told: {says}.*use an environment"):
            call()


def test_observations_that_are_no_box_are_refused(monkeypatch):
    seen = spaces.Dict({"a": spaces.Box(-1, 1, (2,))})
    entry = told(spaces.Box(-1, 1, (2,)), monkeypatch, observation_space=seen)
    assert "env Told: its observations are Dict" in refusal(entry.make)


def test_bounds_are_shown_once_each():
    assert str(ActionBox(np.float32([-1, -2, -1]), np.float32([1, 2, 1]))) == "[-1, 1] and [-2, 2]"


# --- reference returns


def test_every_reference_is_of_an_environment_and_has_a_source():
    assert REFERENCES.keys() <= set(LISTED)
    for name in LISTED:
        entry = env_entry(name)
        assert bool(entry.source) == (entry.random_return is not None), name
        if entry.expert_return is not None:
            assert entry.score(entry.random_return) == 0 and entry.score(entry.expert_return) == pytest.approx(100)
        else:
            assert entry.score(1.0) is None
    assert all(env_entry(name).random_return is not None for name in MUJOCO)


def test_a_score_is_called_d4rls_only_where_it_is():
    assert env_entry("Hopper").score_name == "D4RL-reference-normalised score"
    assert env_entry("dmc/walker-walk").score_name == "reference-normalised score"


# --- names


@pytest.mark.parametrize(("name", "near"), [("HalfCheeta", "HalfCheetah"), ("dmc/cheetah-rum", "dmc/cheetah-run")])
def test_unknown_name_suggests_the_nearest(name, near):
    says = refusal(env_entry, name)
    assert f"did you mean {near}?" in says and "Hopper" in says and "dmc/..., gym:ID" in says and len(says) < 300


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gym:Pendulun-v1", "Did you mean: `Pendulum`?"),
        ("gym:Pendulum-v7", "version `v7`"),
        ("gym:no such", "Malformed"),
        ("gym:no_such_module:X-v0", "No module named 'no_such_module'"),
        ("gym:Blackjack-v1", "registered without max_episode_steps"),
    ],
)
def test_unknown_gymnasium_ids_are_one_line(name, says):
    assert refusal(env_entry, name).startswith(f"env {name}: ") and says in refusal(env_entry, name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gym:CartPole-v1", "its actions are Discrete(2)"),
        ("gym:Taxi-v4" if "Taxi-v4" in gymnasium.registry else "gym:Taxi-v3", "its observations are Discrete(500)"),
        pytest.param("dmc/lqr-lqr_2_1", "its actions lie in [-inf, inf]", marks=SUITE),
    ],
)
def test_environments_that_do_not_fit_are_one_line(name, says):
    assert f"env {name}: {says}" in refusal(env_entry(name).make)


def test_a_gymnasium_id_may_name_the_module_that_registers_it(tmp_path, monkeypatch):
    row = "gymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:PendulumEnv', max_episode_steps=7)"
    (tmp_path / "a_module_of_mine.py").write_text(f"import gymnasium\n{row}\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert env_entry("gym:a_module_of_mine:Mine-v0").episode_steps == 7
    finally:
        gymnasium.registry.pop("Mine-v0", None)


def test_names_are_parts_of_file_names():
    names = {env_entry(name).slug for name in [*LISTED, "gym:Pendulum-v1"]}
    assert len(names) == len(LISTED) + 1 and not {c for name in names for c in name} & set("/: ")


@SUITE
def test_the_list_of_the_suite_is_dm_controls():
    from dm_control import suite

    ours = {name.removeprefix("dmc/") for name in LISTED if name.startswith("dmc/")}
    assert ours == {f"{domain}-{task}" for domain, task in suite.ALL_TASKS}


@SUITE
def test_observations_of_the_suite_are_in_its_order():
    env = env_entry("dmc/walker-walk").make()
    seen = env.reset(seed=1)[0]
    control = env.unwrapped.control
    parts = control.task.get_observation(control.physics)
    assert list(parts) == ["orientations", "height", "velocity"]
    assert np.array_equal(seen, np.concatenate([np.ravel(part) for part in parts.values()]).astype(np.float32))


@SUITE
def test_an_episode_of_the_suite_ends_by_its_time():
    env = env_entry("dmc/point_mass-easy").make()
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[1:4] for _ in range(1000)]
    assert ends[-1][1:] == (False, True) and not any(over or cut for _, over, cut in ends[:-1])
    assert all(0 <= reward <= 1 for reward, *_ in ends)


# --- simulators


def test_importing_the_package_and_the_rows_imports_no_simulator(tmp_path):
    heavy = "sorted({'torch', 'gymnasium', 'mujoco', 'dm_control'} & set(sys.modules))"
    code = f"import sys, weit_rl.envs; from weit_rl.envs.entry import load_families; load_families(); print({heavy})"
    done = run(code, tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["HalfCheetah", "HalfCheetah:limbs=0.9", DMC_CHEETAH, "gym:HalfCheetah-v5"])
def test_making_one_prints_nothing_and_leaves_no_file(name, tmp_path):
    done = run(f"from weit_rl.envs.entry import env_entry; env_entry({name!r}).make().reset(seed=0)", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_other_simulator_warnings_reach_python(capsys):
    with pytest.warns(RuntimeWarning, match="QACC"):
        on_warning("Nan, Inf or huge value in QACC")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # raising inside the simulator's C code would end the process
        on_warning("Nan, Inf or huge value in QACC")
    assert "QACC" in capsys.readouterr().err


def test_a_missing_simulator_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    assert "mujoco is missing; pip install" in refusal(env_entry("Hopper").make)
    monkeypatch.setitem(sys.modules, "dm_control.suite", None)
    assert "pip install 'weit_rl[dmc]'" in refusal(env_entry("dmc/walker-walk").make)
    monkeypatch.setitem(sys.modules, "gymnasium.envs.classic_control.pendulum", None)
    monkeypatch.setitem(sys.modules, "gymnasium.envs.classic_control", None)
    assert "env gym:Pendulum-v1: cannot be made" in refusal(env_entry("gym:Pendulum-v1").make)


def test_a_new_environment_is_one_new_file(monkeypatch, tmp_path):
    row = "ENVS.add('Mine', EnvEntry('Mine', 'Mine-v0', 'a:b', 0.0, 1.0))"
    (tmp_path / "a_new_family.py").write_text(f"from weit_rl.envs.entry import ENVS, EnvEntry\n{row}\n")
    monkeypatch.setattr(weit_rl.envs, "__path__", [*weit_rl.envs.__path__, str(tmp_path)])
    monkeypatch.setattr(ENVS, "_things", dict(ENVS._things))
    assert env_entry("Mine").gym_id == "Mine-v0"
    sys.modules.pop("weit_rl.envs.a_new_family")


# --- pictures


@pytest.mark.parametrize("name", MUJOCO)
def test_pictures_follow_the_body_where_a_camera_does(name):
    env = env_entry(name).make(render_mode="rgb_array")
    model, camera = env.unwrapped.model, env.unwrapped.mujoco_renderer.camera_id
    cameras = [model.camera(i).name for i in range(model.ncam)]
    assert camera == (cameras.index("track") if "track" in cameras else -1)
    env.close()


PICTURE = """
import sys
from weit_rl.envs.entry import env_entry
env = env_entry(sys.argv[1]).make(render_mode="rgb_array")
env.reset(seed=0)
print(env.render().shape, env.render().dtype, env.metadata["render_fps"] > 0)
import torch  # brings libraries that must not come after the renderer's
torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
print("done")
"""


@pytest.mark.parametrize("name", ["Reacher", pytest.param("dmc/walker-walk", marks=SUITE)])
def test_pictures_without_a_screen(name, tmp_path):
    """In a process of its own: a renderer may fail in C."""
    code = f"import sys; sys.argv = ['', {name!r}]\n{PICTURE}"
    done = run(code, tmp_path, MUJOCO_GL=os.environ.get("MUJOCO_GL", "egl"))
    if done.returncode > 0:
        pytest.skip(f"nothing here can render: {done.stderr.strip().splitlines()[-1:]}")
    assert done.stdout.split("\n") == ["(480, 480, 3) uint8 True", "done", ""], done.stderr
