"""Readers of recorded episodes: Minari and D4RL's layout, the levels that ship, and what is wrong with a file."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import made_up

from weit_rl.common.errors import UserError
from weit_rl.data import load_trajectories, readers
from weit_rl.data.formats.d4rl import ARRAYS
from weit_rl.envs.registry import env_entry

HALFCHEETAH = env_entry("HalfCheetah")


def d4rl_arrays(lengths, **sizes):
    made = made_up(lengths, **sizes)
    ends = np.zeros(made.steps, bool)
    ends[made.starts[1:] - 1] = True
    arrays = {"observations": made.observations, "actions": made.actions, "rewards": made.rewards}
    return arrays | {"terminals": ends, "timeouts": np.zeros_like(ends)}


def write_d4rl(path, arrays, **attributes):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs.update(attributes)
    return str(path)


def refuse(data, *words, entry=HALFCHEETAH):
    with pytest.raises(UserError) as error:
        load_trajectories(data, entry)
    text = str(error.value)
    assert "\n" not in text
    for word in (*words, Path(data).name):
        assert str(word) in text, text


# --- reading


def test_minari_round_trip_is_exact(minari_folder):
    folder, made = minari_folder
    for path in (folder, folder / "data", folder / "data" / "main_data.hdf5"):
        read = load_trajectories(str(path), HALFCHEETAH)
        for name in ("observations", "actions", "rewards", "starts"):
            assert np.array_equal(getattr(read, name), getattr(made, name))
            assert getattr(read, name).dtype == getattr(made, name).dtype
    assert read.info["level"] == "mine" and read.info["env_id"] == "HalfCheetah-v5"
    json.dumps(read.info)  # goes into checkpoints and cards


def test_minari_file_holds_float32(minari_folder):
    with h5py.File(minari_folder[0] / "data" / "main_data.hdf5") as file:
        for name in ("observations", "actions", "rewards"):
            assert file["episode_1"][name].dtype == np.float32
        assert file["episode_1/terminations"][-1] and not file["episode_1/truncations"][-1]
        assert file["episode_2/truncations"][-1] and not file["episode_2/terminations"][-1]


def test_minari_id_installed_on_this_machine(minari_folder, monkeypatch, tmp_path):
    shutil.copytree(minari_folder[0], tmp_path / "weit_rl" / "halfcheetah" / "mine-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert load_trajectories("weit_rl/halfcheetah/mine-v0", HALFCHEETAH).episodes == 3


def test_shipped_levels_are_found_by_name(minari_folder, monkeypatch, tmp_path):
    shutil.copytree(minari_folder[0], tmp_path / "HalfCheetah" / "expert")
    monkeypatch.setattr(readers, "SHIPPED", tmp_path)
    assert load_trajectories("expert", HALFCHEETAH).episodes == 3
    refuse("medium", "no", "HalfCheetah (expert)")
    refuse("expert", "Humanoid (none does)", entry=env_entry("Humanoid"))


def test_d4rl_layout_cuts_at_terminals_and_timeouts(tmp_path):
    arrays = d4rl_arrays([4, 3, 5, 2])
    arrays["terminals"][3], arrays["timeouts"][3] = False, True
    arrays["terminals"][-1] = False  # the last episode was cut off
    path = write_d4rl(tmp_path / "a b=c,[d].hdf5", arrays, env_id=np.bytes_("HalfCheetah-v5"), behaviour="a test")
    with pytest.warns(UserWarning, match="the last 2 steps are after the last marked end, and taken as an episode"):
        read = load_trajectories(path, HALFCHEETAH)
    assert read.lengths.tolist() == [4, 3, 5, 2]
    assert np.array_equal(read.observations, arrays["observations"])
    assert read.info["behaviour"] == "a test" and read.info["env_id"] == "HalfCheetah-v5"


def test_actions_come_from_the_environments_bounds_to_minus_one_to_one(tmp_path):
    arrays = d4rl_arrays([4, 3], observation=23, action=7)
    arrays["actions"][:3] = [[2.0], [-2.0], [0.5]]
    read = load_trajectories(write_d4rl(tmp_path / "x.hdf5", arrays), env_entry("Pusher"))
    assert read.actions[:3, 0].tolist() == [1, -1, 0.25] and np.array_equal(read.actions, arrays["actions"] / 2)


def test_d4rl_layout_drops_a_last_single_step(tmp_path):
    arrays = d4rl_arrays([4, 3, 1])
    arrays["terminals"][-1] = False
    with pytest.warns(UserWarning, match="the last step is after the last marked end, and left out"):
        read = load_trajectories(write_d4rl(tmp_path / "x.hdf5", arrays), HALFCHEETAH)
    assert read.lengths.tolist() == [4, 3] and read.steps == 7


@pytest.mark.parametrize(
    ("name", "env", "episodes", "steps", "mean"),
    [("halfcheetah-sac", "HalfCheetah", 40, 40000, 9132), ("hopper-tqc", "Hopper", 40, 36801, 3371)],
)
def test_the_shared_data_are_read(shared, name, env, episodes, steps, mean):
    read = load_trajectories(shared / "control" / f"{name}.hdf5", env_entry(env))
    assert (read.episodes, read.steps) == (episodes, steps)
    assert read.returns().mean() == pytest.approx(mean, abs=1)
    assert read.returns_to_go()[read.starts[:-1]] == pytest.approx(read.returns(), rel=1e-4)


# --- bad input: one line that names the file


def test_missing_data_lists_what_there_is(tmp_path):
    refuse(tmp_path / "nothing.hdf5", "neither a file", "a level that ships for HalfCheetah")
    refuse("x" * 5000, "neither a file")


def test_truncated_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "text.hdf5").write_text("hello\n")
    refuse(tmp_path / "text.hdf5", "not a complete HDF5 file", "again")
    whole = Path(write_d4rl(tmp_path / "whole.hdf5", d4rl_arrays([500])))
    (tmp_path / "cut.hdf5").write_bytes(whole.read_bytes()[:-2000])
    refuse(tmp_path / "cut.hdf5", "not a complete HDF5 file")


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_array_is_named(tmp_path, name):
    arrays = d4rl_arrays([4])
    del arrays[name]
    refuse(write_d4rl(tmp_path / "x.hdf5", arrays), f"no array {name};")


@pytest.mark.parametrize("name", ["observations", "actions", "rewards"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_no_numbers_are_refused(tmp_path, name, bad):
    arrays = d4rl_arrays([4, 4])
    arrays[name] = arrays[name].astype(np.float64)
    arrays[name][5] = bad
    refuse(write_d4rl(tmp_path / "x.hdf5", arrays), name, "NaN or infinite", "step 5")


def test_wrong_shapes_are_refused(tmp_path):
    arrays = d4rl_arrays([4, 4])
    refuse(write_d4rl(tmp_path / "a.hdf5", arrays | {"rewards": arrays["rewards"][:-1]}), "lengths differ", "rewards 7")
    refuse(write_d4rl(tmp_path / "b.hdf5", arrays | {"actions": arrays["rewards"]}), "actions", "(8,)", "(steps, size)")
    refuse(write_d4rl(tmp_path / "c.hdf5", arrays | {"rewards": arrays["actions"]}), "rewards", "(8, 6)", "(steps,)")


def test_sizes_of_another_environment_are_refused(tmp_path):
    arrays = d4rl_arrays([4], observation=11, action=6)
    refuse(write_d4rl(tmp_path / "o.hdf5", arrays), "observation size 11", "HalfCheetah has 17")
    arrays = d4rl_arrays([4], observation=17, action=3)
    refuse(write_d4rl(tmp_path / "a.hdf5", arrays), "action size 3", "HalfCheetah has 6")


def test_another_environment_of_the_same_sizes_is_a_warning(tmp_path):
    path = write_d4rl(tmp_path / "x.hdf5", d4rl_arrays([4]), env_id="Walker2d-v5")
    with pytest.warns(UserWarning, match=r"Walker2d-v5, not in HalfCheetah-v5"):
        load_trajectories(path, HALFCHEETAH)


@pytest.mark.parametrize("lengths", [[1, 1, 1], [1]])
def test_data_without_a_complete_window_are_refused(tmp_path, lengths):
    refuse(write_d4rl(tmp_path / "x.hdf5", d4rl_arrays(lengths)), "no complete window")


def test_data_without_steps_are_refused(tmp_path):
    empty = {name: array[:0] for name, array in d4rl_arrays([2]).items()}
    refuse(write_d4rl(tmp_path / "x.hdf5", empty), "no complete window")


def test_damaged_minari_folders_are_refused(minari_folder, tmp_path):
    def damaged(name):
        shutil.copytree(minari_folder[0], tmp_path / name)
        return tmp_path / name / "data"

    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "not a complete Minari data set")
    (damaged("card") / "metadata.json").write_text("{")
    refuse(tmp_path / "card", "not a complete Minari data set")
    file = damaged("cut") / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:-3000])
    refuse(tmp_path / "cut", "not a complete Minari data set")
    with h5py.File(damaged("array") / "main_data.hdf5", "a") as file:
        del file["episode_2/actions"]
    refuse(tmp_path / "array", "not a complete Minari data set", "actions")
    with h5py.File(damaged("short") / "main_data.hdf5", "a") as file:
        del file["episode_2/rewards"]
        file["episode_2/rewards"] = np.zeros(2, np.float32)
    refuse(tmp_path / "short", "episode 2", "lengths differ")
    with h5py.File(damaged("nan") / "main_data.hdf5", "a") as file:
        file["episode_1/rewards"][2] = np.nan
    refuse(tmp_path / "nan", "rewards", "NaN", "step 7")
