"""Folders of npz episodes, and the registry of formats they are one of."""

import numpy as np
import pytest
from conftest import made_up
from test_readers import HALFCHEETAH, refuse

from weit_rl.data import load_trajectories
from weit_rl.data.formats import FORMATS
from weit_rl.data.readers import SHIPPED

MADE = made_up([5, 9, 3])
OURS = ("observations", "actions", "rewards")


def arrays(episode, names=OURS):
    one = MADE.subset([episode])
    return dict(zip(names, (one.observations, one.actions, one.rewards), strict=True))


def write(folder, files):
    folder.mkdir()
    for name, content in files.items():
        np.savez(folder / f"{name}.npz", **content)
    return folder


def same(read, made=MADE):
    return all(np.array_equal(getattr(read, name), getattr(made, name)) for name in (*OURS, "starts"))


@pytest.mark.parametrize(
    "names",
    [OURS, ("observation", "action", "reward"), ("obs", "acts", "rews"), ("states", "actions", "rewards")],
)
def test_a_folder_is_read_in_the_natural_order_of_names(tmp_path, names):
    extra = {"terminals": np.zeros(3, bool), "infos": np.array([{"a": 1}]), "note": "mine"}
    files = {"ep2": arrays(0, names), "ep10": arrays(1, names) | extra, "ep100": arrays(2, names)}
    read = load_trajectories(write(tmp_path / "set", files), HALFCHEETAH)
    assert same(read) and read.info["format"] == "npz"


def test_the_observation_after_the_last_action_is_left_out(tmp_path):
    files = {str(i): arrays(i) for i in range(3)}
    for content in files.values():
        content["observations"] = np.concatenate([content["observations"], np.ones((1, 17), np.float32)])
    assert same(load_trajectories(write(tmp_path / "set", files), HALFCHEETAH))


@pytest.mark.parametrize("mark", ["discount", "is_first"])
def test_rows_that_hold_the_action_before_the_observation_are_shifted(tmp_path, mark):
    files = {}
    for i in range(3):
        seen, acts, rewards = arrays(i).values()
        files[str(i)] = {
            "observation": np.concatenate([seen, seen[-1:]]),
            "action": np.concatenate([np.zeros((1, 6), np.float32), acts]),
            "reward": np.concatenate([[0], rewards])[:, None].astype(np.float32),
            mark: np.ones((len(acts) + 1, 1), np.float32),
        }
    assert same(load_trajectories(write(tmp_path / "set", files), HALFCHEETAH))


def test_rows_with_a_discount_that_begin_with_an_action_are_left_as_they_are(tmp_path):
    files = {str(i): arrays(i) | {"discount": np.ones(MADE.lengths[i])} for i in range(3)}
    assert same(load_trajectories(write(tmp_path / "set", files), HALFCHEETAH))


def test_a_discount_that_is_one_number_shifts_nothing(tmp_path):
    files = {str(i): arrays(i) | {"discount": np.float32(0.99)} for i in range(3)}
    assert same(load_trajectories(write(tmp_path / "set", files), HALFCHEETAH))


def test_a_single_file_is_one_episode_and_env_id_is_kept(tmp_path):
    names = {"text": "HalfCheetah-v5", "bytes": np.bytes_("HalfCheetah-v5")}
    folder = write(tmp_path / "set", {name: arrays(1) | {"env_id": env} for name, env in names.items()})
    for name in names:
        read = load_trajectories(folder / f"{name}.npz", HALFCHEETAH)
        assert read.lengths.tolist() == [9] and read.info["env_id"] == "HalfCheetah-v5"


def test_another_environment_is_a_warning(tmp_path):
    folder = write(tmp_path / "set", {str(i): arrays(i) | {"env_id": "Walker2d-v5"} for i in range(3)})
    with pytest.warns(UserWarning, match=r"recorded in Walker2d-v5, not in HalfCheetah-v5"):
        load_trajectories(folder, HALFCHEETAH)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards": None}, ["no array rewards", "reward, rews"]),
        ({"actions": None, "observations": None}, ["no array observations, actions"]),
        ({"rewards": np.zeros(4)}, ["lengths differ", "rewards 4"]),
        ({"observations": np.zeros((11, 17))}, ["lengths differ", "observations 11"]),
        ({"actions": np.zeros(9)}, ["actions is float64 (9,)", "(steps, size)"]),
        ({"actions": np.float64(1)}, ["actions is float64 ()"]),
        ({"actions": np.float64(1), "discount": 0.9}, ["actions is float64 ()"]),
        ({"rewards": np.array(["a"] * 9), "discount": np.ones(9)}, ["must be numbers"]),
        ({"rewards": np.array(["a"] * 9)}, ["must be numbers"]),
        ({"rewards": np.array([None] * 9)}, ["not a complete .npz file (pickled objects are not loaded"]),
        ({"observations": np.zeros((9, 11)), "env_id": "Hopper-v5"}, ["HalfCheetah has 17", "recorded in Hopper-v5"]),
        ({"rewards": np.full(9, np.nan)}, ["rewards hold NaN"]),
    ],
)
def test_a_bad_array_is_one_line_that_names_the_file(tmp_path, change, words):
    content = {name: array for name, array in (arrays(1) | change).items() if array is not None}
    folder = write(tmp_path / "set", {"ep1": arrays(0), "ep2": content})
    refuse(folder, *words)


def test_bad_files_are_refused(tmp_path):
    folder = write(tmp_path / "set", {"ep1": arrays(0)})
    whole = (folder / "ep1.npz").read_bytes()
    np.save(tmp_path / "plain.npy", np.zeros(3))
    flipped = whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]
    for damage in (whole[:-100], whole[:10], b"", b"hello", flipped, (tmp_path / "plain.npy").read_bytes()):
        (folder / "ep2.npz").write_bytes(damage)
        refuse(folder, "ep2.npz: not a complete .npz file")


def test_a_path_of_no_format_gets_the_list_of_formats(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("hello")
    for path in (tmp_path / "notes", tmp_path / "notes" / "a.txt"):
        refuse(path, *(f"not a complete {FORMATS.get(name).what}" for name in FORMATS.names()))


def test_a_zip_leads_to_the_command_that_records(tmp_path):
    (tmp_path / "agent.zip").write_bytes(b"PK")
    refuse(tmp_path / "agent.zip", "python -m weit_rl.collect mode=record agent=", "allow_pickle=true")


def test_no_two_formats_take_the_same_path(tmp_path, minari_folder):
    folder = write(tmp_path / "set", {"ep1": arrays(0)})
    (tmp_path / "x.hdf5").write_bytes(b"")
    (tmp_path / "x.zip").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    paths = [
        folder,
        folder / "ep1.npz",
        tmp_path / "x.hdf5",
        tmp_path / "x.zip",
        *minari_folder[:1],
        minari_folder[0] / "data",
    ]
    taken = [[name for name in FORMATS.names() if FORMATS.get(name).accepts(path)] for path in paths]
    assert taken == [["npz"], ["npz"], ["d4rl"], ["sb3"], ["minari"], ["minari"]]
    assert not any(FORMATS.get(name).accepts(tmp_path / "nothing") for name in FORMATS.names())
    assert load_trajectories(SHIPPED / "HalfCheetah" / "random", HALFCHEETAH).info["format"] == "minari"
