"""Environments: every registered one, and how they are found."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import weit_rl.envs
from weit_rl.envs.entry import ENVS, env_entry, load_families
from weit_rl.envs.gymnasium_mujoco import _on_mujoco_warning
from weit_rl.errors import UserError

NAMES = load_families().names()


def run(code, folder):
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", NAMES)
def test_makes_float32_observations_and_keeps_the_actions(name):
    entry = env_entry(name)
    env = entry.make()
    inner = env.unwrapped.action_space
    observation, _ = env.reset(seed=3)
    stepped = env.step(env.action_space.sample())[0]
    assert env.observation_space.dtype == observation.dtype == stepped.dtype == np.float32
    assert env.observation_space.contains(observation)
    assert env.action_space == inner and env.action_space.dtype == np.float32
    assert entry.sizes == (observation.shape[0], inner.shape[0])
    assert env.spec.max_episode_steps == entry.episode_steps


@pytest.mark.parametrize("name", NAMES)
def test_reference_scores(name):
    entry = env_entry(name)
    assert entry.score(entry.random_return) == 0
    assert entry.score(entry.expert_return) == pytest.approx(100)


def test_a_seed_gives_the_same_episode():
    def first(seed):
        env = env_entry("HalfCheetah").make()
        return env.reset(seed=seed)[0]

    assert np.array_equal(first(5), first(5)) and not np.array_equal(first(5), first(6))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match=r"did you mean HalfCheetah.*Hopper") as error:
        env_entry("HalfCheeta")
    assert "\n" not in str(error.value)


def test_importing_the_package_and_the_rows_imports_no_simulator(tmp_path):
    heavy = "sorted({'torch', 'gymnasium', 'mujoco'} & set(sys.modules))"
    code = f"import sys, weit_rl.envs; from weit_rl.envs.entry import load_families; load_families(); print({heavy})"
    done = run(code, tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_making_one_prints_nothing_and_leaves_no_file(tmp_path):
    done = run("from weit_rl.envs.entry import env_entry; env_entry('HalfCheetah').make().reset(seed=0)", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_other_simulator_warnings_reach_python(capsys):
    with pytest.warns(RuntimeWarning, match="QACC"):
        _on_mujoco_warning("Nan, Inf or huge value in QACC")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # raising inside the simulator's C code would end the process
        _on_mujoco_warning("Nan, Inf or huge value in QACC")
    assert "QACC" in capsys.readouterr().err


def test_a_missing_simulator_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(UserError, match=r"mujoco is missing; pip install") as error:
        env_entry("Hopper").make()
    assert "\n" not in str(error.value)


def test_a_new_environment_is_one_new_file(monkeypatch, tmp_path):
    row = "ENVS.add('Mine', EnvEntry('Mine', 'Mine-v0', 'a:b', 0.0, 1.0))"
    (tmp_path / "a_new_family.py").write_text(f"from weit_rl.envs.entry import ENVS, EnvEntry\n{row}\n")
    monkeypatch.setattr(weit_rl.envs, "__path__", [*weit_rl.envs.__path__, str(tmp_path)])
    monkeypatch.setattr(ENVS, "_things", dict(ENVS._things))
    assert env_entry("Mine").gym_id == "Mine-v0"
    sys.modules.pop("weit_rl.envs.a_new_family")


@pytest.mark.parametrize("name", load_families().names())
def test_pictures_follow_the_body(name):
    env = env_entry(name).make(render_mode="rgb_array")
    camera = env.unwrapped.mujoco_renderer.camera_id
    assert env.unwrapped.model.camera(camera).name == "track"
    env.close()
