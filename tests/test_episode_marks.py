"""Several episodes in one file: cut at the marks of other projects, or refused where these contradict each other."""

import warnings

import h5py
import numpy as np
import pytest
from conftest import made_up
from shared_envs import refusal

from weit_rl.data import load_trajectories
from weit_rl.data.episode_files import read_episodes
from weit_rl.data.episode_marks import ENDS
from weit_rl.envs.registry import env_entry

HALFCHEETAH = env_entry("HalfCheetah")
LENGTHS = [5, 9, 3]
MADE = made_up(LENGTHS)
ENDED, BEGUN, WHICH = np.zeros(17, bool), np.zeros(17, bool), np.repeat(np.arange(3), LENGTHS)
ENDED[[4, 13, 16]] = BEGUN[[0, 5, 14]] = True


def arrays(**changes):
    found = {name: getattr(MADE, name) for name in ("observations", "actions", "rewards")} | changes
    return {name: array for name, array in found.items() if array is not None}


def npz(folder, content):
    np.savez(folder / "x.npz", **content)
    return folder / "x.npz"


def hdf5(folder, content):
    with h5py.File(folder / "x.hdf5", "w") as file:
        file.update(content)
    return folder / "x.hdf5"


def same(read, lengths=LENGTHS):
    alike = [
        np.array_equal(getattr(read, name), getattr(MADE, name)) for name in ("observations", "actions", "rewards")
    ]
    return read.lengths.tolist() == lengths and all(alike)


WHOLE = [
    *({name: ENDED} for name in ENDS),
    {"dones": ENDED.astype(np.float32)[:, None]},
    {"terminals": ENDED & (np.arange(17) == 4), "timeouts": ENDED & (np.arange(17) > 4)},
    {"is_first": BEGUN},
    {"episode_starts": BEGUN},
    {"episode_starts": BEGUN.astype(np.float32)},
    {"episode_starts": np.array([0, 5, 14])},
    {"episode_ends": np.array([5, 14, 17])},
    {"episode_ends": np.array([4, 13, 16])},
    {"episode_ends": ENDED},
    {"episode_lengths": np.array(LENGTHS)},
    {"traj_ids": WHICH + 7},
    {"episode_id": np.array(["a", "b", "c"])[WHICH]},
    {"episode_index": WHICH, "terminated": ENDED & (np.arange(17) == 4), "truncated": np.zeros(17, bool)},
]


@pytest.mark.parametrize("marks", WHOLE, ids=lambda marks: "-".join(marks))
def test_a_file_is_cut_at_its_marks(marks, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(load_trajectories(npz(tmp_path, arrays(**marks)), HALFCHEETAH))


@pytest.mark.parametrize(
    "marks",
    [{"dones": ENDED}, {"terminations": ENDED, "truncations": ENDED & False}, {"episode_terminals": ENDED},
     {"traj_ids": np.array([b"a", b"b", b"c"])[WHICH]}, {"terminals": ENDED[:, None], "timeouts": ENDED[:, None]}],
    ids=lambda marks: "-".join(marks),
)  # fmt: skip
def test_hdf5_files_with_other_names_of_marks_are_cut(marks, tmp_path):
    content = arrays(**marks) | {"rewards": MADE.rewards[:, None]}
    assert same(load_trajectories(hdf5(tmp_path, content), HALFCHEETAH))


@pytest.mark.parametrize(
    ("marks", "per_row"),
    [({"episode_lengths": np.array(LENGTHS)}, False), ({"dones": ENDED}, False), ({"traj_ids": WHICH}, False),
     ({"is_last": None}, True), ({"is_first": None}, True), ({"episode_ends": np.array([6, 16, 20])}, False)],
    ids=str,
)  # fmt: skip
def test_each_episode_may_have_its_own_last_observation(marks, per_row, tmp_path):
    pieces = np.split(MADE.observations, [5, 14])
    seen = np.concatenate([np.concatenate([piece, piece[-1:]]) for piece in pieces])
    ends = np.isin(np.arange(20), [5, 15, 19])
    if per_row:  # a mark for each observation
        marks = {name: np.roll(ends, 1) if name == "is_first" else ends for name in marks}
    assert same(load_trajectories(npz(tmp_path, arrays(observations=seen, **marks)), HALFCHEETAH))


def test_rows_that_hold_the_action_before_are_shifted_in_each_episode(tmp_path):
    content = {name: [] for name in ("observation", "action", "reward", "is_first", "is_last", "is_terminal")}
    for i, length in enumerate(LENGTHS):
        one = MADE.subset([i])
        content["observation"] += [*one.observations, one.observations[-1]]
        content["action"] += [np.zeros(6), *one.actions]
        content["reward"] += [0, *one.rewards]
        content["is_first"] += [True] + [False] * length
        content["is_last"] += [False] * length + [True]
        content["is_terminal"] += [False] * length + [i == 1]
    named = {name: np.array(values, np.float32) for name, values in content.items()}
    assert same(load_trajectories(npz(tmp_path, named), HALFCHEETAH))


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ({"is_first": BEGUN, "dones": np.arange(17) == 8}, ["is_first and dones contradict each other", "step 9"]),
        (
            {"episode_lengths": np.array([8, 9]), "episode_ends": np.array([5, 14, 17])},
            ["episode_lengths", "contradict"],
        ),
        ({"dones": np.arange(12) == 8}, ["dones, bool (12,), does not fit 17 actions and 17 observations"]),
        ({"dones": np.zeros((17, 2)) + 1}, ["dones, float64 (17, 2), does not fit"]),
        ({"episode_lengths": np.array([8, 10])}, ["episode_lengths", "does not fit"]),
        ({"episode_ends": np.array([14, 5, 17])}, ["episode_ends", "does not fit"]),
        ({"episode_ends": np.array([-3, 5, 17])}, ["episode_ends", "does not fit"]),
        ({"episode_ends": np.array([5.0, np.nan])}, ["episode_ends", "does not fit"]),
        ({"episode_starts": np.array([3, 14])}, ["episode_starts", "does not fit"]),
        ({"episode_id": np.arange(17) % 2}, ["episode_id", "does not fit"]),
        ({"dones": np.array(["no"] * 17)}, ["dones, <U2 (17,), does not fit"]),
    ],
)
def test_marks_that_contradict_are_refused(marks, words, tmp_path):
    said = refusal(load_trajectories, npz(tmp_path, arrays(**marks)), HALFCHEETAH)
    assert all(word in said for word in (*words, "x.npz")), said


@pytest.mark.parametrize(
    "marks",
    [{}, {"terminals": np.zeros(17)}, {"done": True}, {"dones": np.array([1])}, {"terminals": np.zeros(3, bool)}],
    ids=str,
)
def test_without_a_mark_of_a_step_a_file_is_one_episode(marks, tmp_path):
    assert same(load_trajectories(npz(tmp_path, arrays(**marks)), HALFCHEETAH), [17])


@pytest.mark.parametrize("write", [npz, hdf5])
def test_steps_after_the_last_end_are_named(write, tmp_path):
    content = arrays(terminals=ENDED & (np.arange(17) < 16), timeouts=np.zeros(17, bool))
    with pytest.warns(
        UserWarning, match="the last 3 steps are after the last marked end, and taken as an episode that was"
    ):
        assert same(load_trajectories(write(tmp_path, content), HALFCHEETAH))


def test_an_hdf5_file_without_any_end_is_named(tmp_path):
    content = arrays(terminals=np.zeros(17, bool), timeouts=np.zeros(17, bool))
    with pytest.warns(UserWarning, match="no end of an episode is marked, so its 17 steps are taken as one"):
        assert same(load_trajectories(hdf5(tmp_path, content), HALFCHEETAH), [17])


@pytest.mark.parametrize(
    ("ends", "says"),
    [([], "its only episode is longer than HalfCheetah's 1000 steps (up to 2500)"),
     ([100], "1 of its 2 episodes are longer than HalfCheetah's 1000 steps (up to 2399)")],
)  # fmt: skip
@pytest.mark.parametrize("write", [npz, hdf5])
def test_episodes_longer_than_the_environments_are_named(write, ends, says, tmp_path):
    made = made_up([2500])
    marks = {"terminals": np.isin(np.arange(2500), ends), "timeouts": np.zeros(2500, bool)}
    content = {name: getattr(made, name) for name in ("observations", "actions", "rewards")} | marks
    with pytest.warns(UserWarning) as told:
        load_trajectories(write(tmp_path, content), HALFCHEETAH)
    assert any(says in str(one.message) and "\n" not in str(one.message) for one in told)


def test_a_note_names_a_file_of_a_folder_and_a_single_file_once(tmp_path):
    path, marks = npz(tmp_path, arrays(dones=np.arange(sum(LENGTHS)) == 2)), "after the last marked end"
    single, folder = (read_episodes(one)[1]["notes"] for one in (path, path.parent))
    assert marks in single[0] and path.name not in single[0] and folder == [f"{path.name}: {single[0]}"]
