"""Agents that Stable-Baselines3 saved: recorded, and refused where they do not fit."""

import json
import os
import zipfile

import minari
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
from conftest import contents
from short_episodes import SHORT, short  # noqa: F401
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from weit_rl.agents.sb3_agent import load_agent
from weit_rl.agents.sb3_zip import ALGORITHMS, algorithm_of, read_settings
from weit_rl.collect import main
from weit_rl.common.errors import UserError
from weit_rl.data import load_trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose

PENDULUM = "gym:Pendulum-v1"  # acts in [-2, 2], 200 steps


def made(algorithm, env, path, policy="MlpPolicy", **options):
    """Save a fresh agent."""
    kind = getattr(stable_baselines3, algorithm, None) or getattr(sb3_contrib, algorithm)
    buffer = {} if algorithm in ("PPO", "A2C", "TRPO") else {"buffer_size": 10}
    agent = kind(policy, env, policy_kwargs=options or {"net_arch": [8]}, device="cpu", seed=0, **buffer)
    agent.save(path)
    return agent


pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    """Save one agent of each algorithm on Pendulum; return their paths by name."""
    folder = tmp_path_factory.mktemp("agents")
    agents = {name: made(name, "Pendulum-v1", folder / f"{name}.zip") for name in (*ALGORITHMS, "TRPO")}
    return folder, agents


def record(agent, tmp_path, *words):
    usual = ["mode=record", f"agent={agent}", "allow_pickle=true", "episodes=2", f"run_dir={tmp_path / 'set'}"]
    return main(compose("collect", [*usual, *words]))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_algorithm_is_read_from_the_file_and_acts_as_it_did(zips, algorithm):
    folder, agents = zips
    path = folder / f"{algorithm}.zip"
    assert algorithm_of(read_settings(path), path, None) == algorithm
    loaded = load_agent(path, algorithm, env_entry(PENDULUM))
    seen = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    expected = agents[algorithm].predict(seen, deterministic=True)[0]
    assert np.array_equal(loaded.predict(seen, deterministic=True)[0], expected)
    assert getattr(loaded, "buffer_size", 1) == 1  # no memory for what is never filled


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_agents_of_this_projects_policy_are_recognised(algorithm, tmp_path):
    path, other = tmp_path / "agent.zip", "PPO" if algorithm != "PPO" else "SAC"
    agent = made(algorithm, "Pendulum-v1", path, "WeiTPolicy", size="32x1")
    assert algorithm_of(read_settings(path), path, None) == algorithm
    with pytest.raises(UserError, match=f"was saved by {algorithm}, not {other}"):
        algorithm_of(read_settings(path), path, other)
    seen = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    loaded = load_agent(path, algorithm, env_entry(PENDULUM))
    assert np.array_equal(*(one.predict(seen, deterministic=True)[0] for one in (loaded, agent)))


def test_agents_with_discrete_actions_are_refused(tmp_path):
    made("DQN", "CartPole-v1", tmp_path / "dqn.zip", "WeiTPolicy", size="32x1")
    with pytest.raises(UserError, match=r"is of none of SAC, TQC.*use an agent of these$"):
        algorithm_of(read_settings(tmp_path / "dqn.zip"), tmp_path / "dqn.zip", None)


def test_recorded_actions_are_those_of_the_agent(zips, tmp_path, capsys):
    folder, agents = zips
    result = record(folder / "SAC.zip", tmp_path, f"env={PENDULUM}", "seed=3")
    assert f"return {result['returns']['return_mean']:.1f}" in capsys.readouterr().out
    entry = env_entry(PENDULUM)
    read = load_trajectories(result["path"], entry)
    assert read.lengths.tolist() == [200, 200] and result["algorithm"] == read.info["algorithm"] == "SAC"
    assert result["returns"]["return_mean"] == pytest.approx(read.returns().mean())
    assert read.info["agent"] == "SAC.zip" and read.info["deterministic"] is True
    assert read.info["seeds"]["recorded"] == [7_300_000, 7_300_001]
    stored = minari.MinariDataset(f"{result['path']}/data")
    own = np.concatenate([episode.actions for episode in stored.iterate_episodes()])
    expected = agents["SAC"].predict(read.observations, deterministic=True)[0]
    assert np.allclose(own, expected, atol=1e-5) and np.allclose(read.actions, expected / 2, atol=1e-5)


def test_the_name_that_was_saved_under_is_enough(zips, tmp_path, refused):
    folder, _ = zips
    (tmp_path / "A2C").mkdir()
    for name in ("SAC", "A2C"):
        copied = tmp_path / f"{name}.zip"
        copied.write_bytes((folder / f"{name}.zip").read_bytes())  # as save("SAC") writes it, beside a folder A2C
        assert record(tmp_path / name, tmp_path / "runs" / name, f"env={PENDULUM}")["algorithm"] == name
    (tmp_path / "SAC").write_text("another file of that name")
    words = ["mode=record", f"env={PENDULUM}", f"agent={tmp_path / 'SAC'}", f"run_dir={tmp_path / 'none'}"]
    assert f"agent={tmp_path / 'SAC'}: not a whole" in refused("collect", *words)


def test_a_sampling_agent_is_repeatable_and_off_the_mean(zips, tmp_path):
    folder, agents = zips
    words = [f"env={PENDULUM}", "deterministic=false", "algorithm=PPO"]
    one, two = (record(folder / "PPO.zip", tmp_path / name, *words) for name in ("a", "b"))
    read, again = (load_trajectories(one["path"], env_entry(PENDULUM)) for one in (one, two))
    assert np.array_equal(read.actions, again.actions) and abs(read.actions).max() <= 1
    assert abs(agents["PPO"].predict(read.observations, deterministic=True)[0] / 2 - read.actions).mean() > 0.05


def test_an_agent_that_acted_in_minus_one_to_one(tmp_path):
    entry = env_entry(PENDULUM)
    agent = made("SAC", entry.make(), tmp_path / "unit.zip")
    read = load_trajectories(record(tmp_path / "unit.zip", tmp_path, f"env={PENDULUM}")["path"], entry)
    assert np.allclose(read.actions, agent.predict(read.observations, deterministic=True)[0], atol=1e-5)


def test_observations_are_normalised_as_in_training(tmp_path):
    venv = VecNormalize(DummyVecEnv([SHORT.make]))
    venv.obs_rms.mean[:], venv.obs_rms.var[:] = 0.3, 4.0
    agent = made("PPO", venv, tmp_path / "ppo.zip")
    venv.save(tmp_path / "vec.pkl")
    result = record(tmp_path / "ppo.zip", tmp_path, "env=Short", f"vec_normalize={tmp_path / 'vec.pkl'}")
    read = load_trajectories(result["path"], SHORT)
    expected = agent.predict((read.observations - 0.3) / 2, deterministic=True)[0]
    assert np.allclose(read.actions, expected, atol=1e-3) and read.lengths.tolist() == [12, 12]


def rewritten(path, target, change):
    """Copy an agent's zip with other JSON in it."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            if name == "data":
                settings = json.loads(data)
                change(settings)
                data = json.dumps(settings).encode()
            copy.writestr(name, data)
    return target


def test_an_agent_of_older_versions(zips, tmp_path):
    def age(settings):
        for name in ("observation_space", "action_space"):
            settings[name] |= {":type:": "<class 'gym.spaces.box.Box'>", ":serialized:": "Z2FyYmFnZQ=="}
        for name in ("lr_schedule", "clip_range"):
            settings[name] = {":type:": "<class 'function'>", ":serialized:": "Z2FyYmFnZQ=="}

    old = rewritten(zips[0] / "PPO.zip", tmp_path / "old.zip", age)
    seen = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    loaded, agent = load_agent(old, "PPO", env_entry(PENDULUM)), zips[1]["PPO"]
    assert np.array_equal(*(one.predict(seen, deterministic=True)[0] for one in (loaded, agent)))


class Trap:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_pickle_is_loaded_before_it_is_allowed_or_where_the_agent_does_not_fit(zips, tmp_path):
    path = tmp_path / "trap.zip"
    agent = zips[1]["SAC"]
    agent.trap = Trap(tmp_path / "sprung")
    agent.save(path)
    del agent.trap
    for words in (["allow_pickle=false", f"env={PENDULUM}"], ["env=Hopper"], [f"env={PENDULUM}", "algorithm=PPO"]):
        with pytest.raises(UserError):
            record(path, tmp_path, *words)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["trap.zip"]
    record(path, tmp_path, f"env={PENDULUM}", "episodes=1")
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["allow_pickle=false"], "holds pickles, which can run any code when they are loaded"),
        (["algorithm=PPO"], "was saved by SAC, not PPO; leave algorithm out or correct it"),
        (["algorithm=DQN"], "algorithm=DQN: unknown, choose one of SAC, TQC, TD3, DDPG, PPO, A2C"),
        (["env=Hopper"], "its observation has shape [3], but Hopper has [11]"),
        (["agent={folder}/none.zip"], "none.zip: cannot read (No such file or directory)"),
        (["agent={folder}"], "cannot read (Is a directory)"),
        (["agent={folder}/TRPO.zip"], "is of none of SAC, TQC"),
        (["agent={folder}/TRPO.zip", "algorithm=PPO"], "is of none of SAC, TQC"),
        (["episodes=0"], "episodes=0: must be 1 to 100000"),
        (["seed=2147483648"], "seed=2147483648: must be 0 to 2147483647"),
        (["vec_normalize={folder}/none.pkl"], "none.pkl: no VecNormalize of gym:Pendulum-v1 (FileNotFoundError"),
        (["vec_normalize={folder}/SAC.zip"], "SAC.zip: no VecNormalize of gym:Pendulum-v1"),
        (["run_dir={folder}"], "exists and is not overwritten"),
        (["run_dir={folder}/SAC.zip/set"], "cannot write"),
        (["agent=null"], "agent: must be given with mode=record"),
        (["mode=train"], "is for mode=record, and this is mode=train"),
        (["mode=recrod"], "did you mean record? (possible: train, demonstrate, record, render, inspect)"),
        (["data=x"], "data=x: is for mode=inspect"),
    ],
)
def test_bad_words_are_one_line(refused, zips, tmp_path, words, says):
    usual = ["mode=record", f"env={PENDULUM}", "agent={folder}/SAC.zip", "allow_pickle=true", f"run_dir={tmp_path}/new"]
    assert says in refused("collect", *(word.format(folder=zips[0]) for word in [*usual, *words]))


def test_bad_files_are_one_line(refused, zips, tmp_path):
    whole, bad = (zips[0] / "SAC.zip").read_bytes(), tmp_path / "bad.zip"
    words = ["mode=record", f"agent={bad}", f"env={PENDULUM}", "allow_pickle=true", f"run_dir={tmp_path}/new"]
    for damage in (whole[:-200], whole[:50], b"", b"hello"):
        bad.write_bytes(damage)
        assert "not a whole Stable-Baselines3 agent" in refused("collect", *words)
    for change in (dict.clear, lambda settings: settings.update(policy_class=3)):
        rewritten(zips[0] / "SAC.zip", bad, change)
        assert "not a whole Stable-Baselines3 agent" in refused("collect", *words)
    with zipfile.ZipFile(bad, "w") as file:
        file.writestr("data", "[]")
    assert "not a whole Stable-Baselines3 agent" in refused("collect", *words)
    rewritten(zips[0] / "SAC.zip", bad, lambda settings: settings["policy_kwargs"].update(net_arch=[9]))
    assert "SAC cannot load it (RuntimeError: Error(s) in loading" in refused("collect", *words)
    rewritten(zips[0] / "SAC.zip", bad, lambda settings: settings["policy_class"].update(__module__="mine"))
    assert "or if it is one, say which, algorithm=SAC" in refused("collect", *words)


def test_other_bounds_are_refused(tmp_path):
    import gymnasium

    env = gymnasium.wrappers.RescaleAction(gymnasium.make("Pendulum-v1"), -3, 3)
    made("SAC", env, tmp_path / "wide.zip")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"acts in \[-3, 3\], but gym:Pendulum-v1 in \[-2, 2\]"):
        record(tmp_path / "wide.zip", tmp_path, f"env={PENDULUM}")
    assert contents(tmp_path) == before


def test_a_recording_is_trained_on_and_the_zip_is_not(refused, zips, tmp_path):
    words = ["init=scratch", f"run_dir={tmp_path / 'run'}"]
    err = refused("train", f"env={PENDULUM}", f"data={zips[0] / 'SAC.zip'}", *words)
    assert f"python -m weit_rl.collect mode=record agent={zips[0] / 'SAC.zip'} allow_pickle=true" in err
    err = refused("train", "init=svd_bank", f"source={zips[0] / 'SAC.zip'}")
    assert "if it is a Stable-Baselines3 agent, weit_rl.agents.resizing.resized gives it another size" in err
