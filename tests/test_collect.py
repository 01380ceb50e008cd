"""Behaviour data from training to the recorded levels, on short episodes."""

import json
import shutil

import minari
import numpy as np
import pytest
from short_episodes import SHORT, TINY, WORDS, refused, short  # noqa: F401

from weit_rl.agents.behaviour import BehaviourConfig, make_behaviour
from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import play, random_actor
from weit_rl.agents.snapshots import load_snapshot, load_training_state
from weit_rl.collect import main
from weit_rl.common.errors import UserError
from weit_rl.data import load_trajectories
from weit_rl.envs.registry import ENVS
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_card, write_tensors

pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("collect") / "run"
    with ENVS.temporarily({"Short": SHORT}):
        return run_dir, main(compose("collect", [*WORDS, f"run_dir={run_dir}"]))


def arrays(folder):
    read = load_trajectories(folder, SHORT)
    return read.observations, read.actions, read.rewards, read.starts


def test_every_level_is_recorded(collected):
    run_dir, results = collected
    for level, episodes in {"expert": 5, "medium": 2, "random": 3}.items():
        read = load_trajectories(run_dir / "data" / level, SHORT)
        assert read.lengths.tolist() == [12] * episodes
        assert read.returns().mean() == pytest.approx(results[level]["returns"]["recorded"]["return_mean"])
        assert results[level]["score"] == pytest.approx(SHORT.score(read.returns().mean()))
        assert abs(read.actions).max() <= 1


def test_metadata_says_how_the_data_was_made(collected):
    info = load_trajectories(collected[0] / "data" / "expert", SHORT).info
    assert info["algorithm"] == "SAC" and info["environment_steps"] in (60, 120)
    assert info["env_id"] == "HalfCheetah-v5" and info["license"].startswith("Apache-2.0")
    assert info["training"]["hyperparameters"] == TINY
    assert {"mujoco", "gymnasium", "stable-baselines3"} <= set(info["versions"])
    assert info["reference_returns"] == {"random": -10.0, "expert": 10.0}
    assert info["returns"]["held_deterministic"]["episodes"] == info["returns"]["held_stochastic"]["episodes"] == 2
    assert load_trajectories(collected[0] / "data" / "random", SHORT).info["algorithm"] == "random"


def test_seeds_of_choosing_measuring_and_recording_are_disjoint(collected):
    seen = set()
    for level in ("expert", "medium", "random"):
        metadata = json.loads((collected[0] / "data" / level / "data" / "metadata.json").read_text())
        spans = metadata["seeds"]
        for name in ("selection", "held") if level == "expert" else ():
            seen |= set(range(spans[name][0], spans[name][1] + 1))
        recorded = set(range(spans["recorded"][0], spans["recorded"][1] + 1))
        dataset = minari.MinariDataset(collected[0] / "data" / level / "data")
        assert {m["seed"] for m in dataset.storage.get_episode_metadata(range(len(dataset)))} == recorded
        assert not recorded & seen
        seen |= recorded
    assert min(seen) >= 4_000_000  # policies are validated and tested below


def test_even_episodes_follow_the_mean_action(collected):
    run_dir, results = collected
    agent = make_behaviour(BehaviourConfig(n_envs=1, hyperparameters=TINY), SHORT.make)
    load_snapshot(agent, run_dir / "behaviour" / f"snapshot_{results['expert']['steps']:08d}.safetensors")
    read = load_trajectories(run_dir / "data" / "expert", SHORT)
    off = abs(agent.predict(read.observations, deterministic=True)[0] - read.actions).max(axis=1)
    episode = np.repeat(np.arange(read.episodes), read.lengths)
    assert off[episode % 2 == 0].max() < 1e-5
    assert (off[episode % 2 == 1] > 1e-2).mean() > 0.9


def test_the_same_seeds_give_the_same_recordings(collected, tmp_path):
    again = tmp_path / "again"
    main(compose("collect", [*WORDS, f"run_dir={again}"]))
    for level in ("expert", "medium", "random"):
        for one, two in zip(arrays(collected[0] / "data" / level), arrays(again / "data" / level), strict=True):
            assert np.array_equal(one, two)


def test_a_stopped_run_resumes_and_keeps_finished_levels(collected, tmp_path):
    run_dir = shutil.copytree(collected[0], tmp_path / "run")
    before = (run_dir / "data" / "expert" / "data" / "main_data.hdf5").stat().st_mtime_ns
    shutil.rmtree(run_dir / "data" / "random")
    (run_dir / "data" / "random.part").mkdir()  # left by a stop in the middle of writing
    results = main(compose("collect", [*WORDS, f"run_dir={run_dir}"]))
    assert (run_dir / "data" / "expert" / "data" / "main_data.hdf5").stat().st_mtime_ns == before
    for one, two in zip(arrays(collected[0] / "data" / "random"), arrays(run_dir / "data" / "random"), strict=True):
        assert np.array_equal(one, two)
    assert results["expert"]["returns"] == collected[1]["expert"]["returns"]
    assert sorted(p.name for p in (run_dir / "data").iterdir()) == ["expert", "medium", "random"]


def test_a_finished_level_is_never_overwritten(collected):
    space = SHORT.make().action_space
    episodes = play(random_actor(space.low, space.high), SHORT, [1])
    with pytest.raises(UserError, match="exists and is not overwritten"):
        write_minari(collected[0] / "data" / "expert", SHORT, episodes, {"dataset_id": "x-v0"})


@pytest.mark.parametrize("text", ['{"env": "Sho', "[1]", ""])
@pytest.mark.parametrize("name", ["collect.json", "selection.json"])
def test_damaged_json_is_one_line(collected, tmp_path, name, text):
    run_dir = shutil.copytree(collected[0], tmp_path / "run")
    (run_dir / name).write_text(text)
    assert f"{name}: was damaged" in refused(run_dir)


def damages(path):
    """Yield each way to damage a tensor file."""
    whole = path.read_bytes()
    yield whole[: len(whole) // 2]
    yield whole[:5]
    yield whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    write_tensors(path, {}, {"format": "weit_rl network 1"})
    yield path.read_bytes()


def test_a_damaged_training_state_or_snapshot_is_one_line(collected, tmp_path):
    run_dir = shutil.copytree(collected[0], tmp_path / "run")
    shutil.rmtree(run_dir / "data" / "expert")  # to be recorded again
    (run_dir / "behaviour" / "training_state.previous").unlink()  # which would be taken instead
    snapshot = run_dir / "behaviour" / f"snapshot_{collected[1]['expert']['steps']:08d}.safetensors"
    for path in (run_dir / "behaviour" / "training_state.safetensors", snapshot):
        whole = path.read_bytes()
        for data in damages(path):
            path.write_bytes(data)
            assert f"{path}: " in refused(run_dir)
        path.write_bytes(whole)


def test_files_of_another_network_are_refused(collected):
    agent = make_behaviour(BehaviourConfig(hyperparameters=TINY | {"policy_kwargs": {"net_arch": [9]}}), SHORT.make)
    folder = collected[0] / "behaviour"
    with pytest.raises(UserError, match="made with other hyperparameters"):
        load_snapshot(agent, folder / "snapshot_00000060.safetensors")
    with pytest.raises(UserError, match="made with other hyperparameters"):
        load_training_state(agent, folder / "training_state.safetensors")


def test_snapshots_say_what_they_are(collected):
    folder = collected[0] / "behaviour"
    assert read_card(folder / "snapshot_00000060.safetensors") == {"format": "weit_rl snapshot 1", "steps": 60}
    assert read_card(folder / "training_state.safetensors")["step"] == 120
    assert not [path for path in folder.iterdir() if path.suffix not in (".safetensors", ".previous", ".csv")]


def test_a_run_made_with_other_settings_is_refused(collected):
    before = sorted(str(path) for path in collected[0].rglob("*"))
    with pytest.raises(UserError, match="was made with another seed"):
        main(compose("collect", [*WORDS, "seed=1", f"run_dir={collected[0]}"]))
    assert sorted(str(path) for path in collected[0].rglob("*")) == before
