"""Minari's data sets as others write them: Dict observations, boxes of other shapes, Arrow files, joined episodes."""

import json
import shutil
import warnings

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from shared_envs import refusal

from weit_rl.data import load_trajectories
from weit_rl.data.formats import minari_sets
from weit_rl.envs.any_gymnasium import entry_of
from weit_rl.envs.registry import env_entry

GOAL = {"observation": spaces.Box(-np.inf, np.inf, (4,)), "desired_goal": spaces.Box(-9, 9, (2,)),
        "achieved_goal": spaces.Box(-9, 9, (2,))}  # fmt: skip
SPACES = {
    "Goals-v0": spaces.Dict(GOAL),
    "Parts-v0": spaces.Tuple([spaces.Box(-1, 1, (2, 2)), spaces.Dict({"z": spaces.Box(0, 1), "a": spaces.Box(0, 9)})]),
    "Rows-v0": spaces.Box(-1, 1, (2, 3)),
    "Picture-v0": spaces.Box(0, 255, (4, 5, 3), np.uint8),
}
ACTIONS = spaces.Box(-1, 1, (2,))


class Toy(gymnasium.Env):
    """Shows samples of a space."""

    action_space = ACTIONS

    def __init__(self, name):
        self.observation_space = SPACES[name]

    def reset(self, *, seed=None, options=None):
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), float(action.sum()), False, False, {}


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    for name in SPACES:
        gymnasium.register(name, f"{__name__}:Toy", kwargs={"name": name}, max_episode_steps=9)
    yield
    for name in SPACES:
        del gymnasium.registry[name]


def stacked(samples):
    """Stack samples as Minari collects them: the arrays of a Dict, not Dicts."""
    if isinstance(samples[0], dict):
        return {key: stacked([one[key] for one in samples]) for key in samples[0]}
    if isinstance(samples[0], tuple):
        return tuple(stacked(list(parts)) for parts in zip(*samples, strict=True))
    return np.stack(samples)


def written(name, root, lengths=(6, 4), ends=None, **options):
    """Write a set of samples; return it and what a policy sees of them."""
    env = gymnasium.make(name, disable_env_checker=True)
    space, buffers, seen = env.observation_space, [], []
    ACTIONS.seed(0)
    for seed, length in enumerate(lengths):
        space.seed(seed)
        samples = [space.sample() for _ in range(length + 1)]
        seen += [spaces.flatten(space, one) for one in samples[:-1]]
        last = np.arange(length) == length - 1
        terminated = last & False if ends is None else np.isin(np.arange(length), ends)
        acts, rewards = np.stack([ACTIONS.sample() for _ in range(length)]), np.arange(length, dtype=np.float64)
        buffers.append(EpisodeBuffer(seed=seed, observations=stacked(samples), actions=acts, rewards=rewards,
                                     terminations=terminated, truncations=last & ~terminated))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers("toys/x-v0", buffers, env=env, observation_space=space,
                                           action_space=ACTIONS, **options)  # fmt: skip
    return root / "toys" / "x-v0", np.stack(seen).astype(np.float32)


@pytest.fixture(params=["hdf5", "arrow", "parquet"])
def form(request):
    if request.param != "hdf5":
        pytest.importorskip("pyarrow", reason="pip install 'weit_rl[arrow]'")
    return request.param


@pytest.mark.parametrize("name", SPACES)
def test_observations_of_any_shape_are_flattened_as_the_environment_is(name, form, tmp_path):
    folder, seen = written(name, tmp_path, data_format=form)
    entry = env_entry(f"gym:{name}")
    read = load_trajectories(folder, entry)
    assert np.array_equal(read.observations, seen) and read.lengths.tolist() == [6, 4]
    assert np.array_equal(read.rewards, [*range(6), *range(4)]) and read.observation_dim == entry.sizes[0]
    stored = [episode.actions for episode in minari.MinariDataset(folder / "data").iterate_episodes()]
    assert np.array_equal(read.actions, np.concatenate(stored))
    env = entry.make()
    first, _ = env.reset(seed=0)
    assert np.array_equal(first, seen[0])


def test_ends_of_a_set_longer_than_others_stay_in_order(form, tmp_path):
    folder, seen = written("Rows-v0", tmp_path, lengths=range(2, 14), data_format=form)
    with pytest.warns(UserWarning, match=r"4 of its 12 episodes are longer than gym:Rows-v0's 9 steps \(up to 13\)"):
        read = load_trajectories(folder, env_entry("gym:Rows-v0"))
    assert read.lengths.tolist() == list(range(2, 14)) and np.array_equal(read.observations, seen)


def test_an_episode_with_steps_after_its_end_is_cut(form, tmp_path):
    folder, seen = written("Rows-v0", tmp_path, lengths=[8], ends=[3], data_format=form)
    with pytest.warns(UserWarning, match="episode 0 continues after its end at step 4, and is cut there"):
        read = load_trajectories(folder, env_entry("gym:Rows-v0"))
    assert read.lengths.tolist() == [4, 4] and np.array_equal(read.observations, seen)


def test_a_dict_of_other_keys_or_sizes_is_refused(tmp_path, monkeypatch):
    folder, _ = written("Goals-v0", tmp_path)
    other = {("goal" if name == "desired_goal" else name): box for name, box in GOAL.items()}
    monkeypatch.setitem(SPACES, "Goals-v0", spaces.Dict(other))
    said = refusal(load_trajectories, folder, fresh("gym:Goals-v0"))
    assert "'desired_goal': 2" in said and "'goal': 2" in said


def fresh(name):
    """Return an entry that has not made its environment yet."""
    return entry_of.__wrapped__(name)


def test_a_box_of_another_shape_is_refused(tmp_path, monkeypatch):
    folder, _ = written("Rows-v0", tmp_path)
    monkeypatch.setitem(SPACES, "Rows-v0", spaces.Box(-1, 1, (3, 2)))
    assert "observation size 2x3" in refusal(load_trajectories, folder, fresh("gym:Rows-v0"))


def with_rewards(shape, place):
    """Write a set whose first episode has rewards of this shape, all 1."""
    folder, _ = written("Rows-v0", place)
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/rewards"]
        file["episode_0/rewards"] = np.ones(shape)
    return folder


def test_rewards_of_one_column_are_read(tmp_path):
    assert load_trajectories(with_rewards((6, 1), tmp_path), env_entry("gym:Rows-v0")).returns()[0] == 6


@pytest.mark.parametrize("shape", [(6, 2), (1, 6)])
def test_rewards_of_other_shapes_are_refused(shape, tmp_path):
    folder = with_rewards(shape, tmp_path)
    assert f"rewards is float64 {shape}" in refusal(load_trajectories, folder, env_entry("gym:Rows-v0"))


def test_arrow_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="pip install 'weit_rl[arrow]'")
    folder, _ = written("Rows-v0", tmp_path, data_format="arrow")
    monkeypatch.setattr(minari_sets.importlib.util, "find_spec", lambda name: None)
    said = refusal(minari_sets.read, folder)
    assert "Minari's arrow format" in said and "pip install 'weit_rl[arrow]'" in said


def test_damaged_arrow_sets_are_refused(tmp_path):
    pytest.importorskip("pyarrow", reason="pip install 'weit_rl[arrow]'")
    folder, _ = written("Rows-v0", tmp_path, data_format="arrow")
    file = next((folder / "data" / "1").glob("*.arrow"))

    def said():
        return refusal(load_trajectories, folder, env_entry("gym:Rows-v0"))

    whole = file.read_bytes()
    file.write_bytes(whole[:-200])
    assert "not a complete Minari data set" in said()
    shutil.rmtree(file.parent)
    assert "not a complete Minari data set" in said()
    card = folder / "data" / "metadata.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"total_episodes": 10**12}))
    assert "Minari data set" in said()
