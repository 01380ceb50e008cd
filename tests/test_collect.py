"""Behaviour data from training to the recorded levels, on short episodes."""

import json
import shutil

import gymnasium
import minari
import numpy as np
import pytest
import torch

from weit_rl.agents.behaviour import BehaviourConfig, make_behaviour, train_behaviour
from weit_rl.agents.levels import choose
from weit_rl.agents.pictures import write_episodes
from weit_rl.agents.recording import play, random_actor, write_minari
from weit_rl.agents.snapshots import load_snapshot, load_training_state, save_training_state
from weit_rl.collect import main
from weit_rl.command import command, compose
from weit_rl.data import load_trajectories
from weit_rl.envs.entry import ENVS, EnvEntry, env_entry
from weit_rl.errors import CannotWrite, UserError
from weit_rl.tensorfile import read_card, write_tensors

SHORT = EnvEntry("Short", "HalfCheetah-v5", f"{__name__}:make_short", -10.0, 10.0, episode_steps=12)
TINY = {"learning_starts": 40, "policy_kwargs": {"net_arch": [8]}, "buffer_size": 400, "batch_size": 16}
WORDS = [
    "env=Short", "steps=120", "n_envs=2", "snapshot_every=60", f"hyperparameters={json.dumps(TINY)}",
    "levels.expert=5", "levels.medium=2", "levels.random=3", "selection_episodes=1", "evaluation_episodes=2",
]  # fmt: skip


def make_short(gym_id, **kwargs):
    from weit_rl.envs.gymnasium_mujoco import make

    return make(gym_id, max_episode_steps=12, **kwargs)


@pytest.fixture(autouse=True)
def short_env(monkeypatch):
    monkeypatch.setattr(ENVS, "_things", ENVS._things | {"Short": SHORT})


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("collect") / "run"
    with pytest.MonkeyPatch.context() as patch:
        env_entry("Hopper")  # fills the registry
        patch.setattr(ENVS, "_things", ENVS._things | {"Short": SHORT})
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


def test_a_stopped_run_goes_on_and_keeps_what_is_finished(collected, tmp_path):
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


def test_training_goes_on_from_its_last_snapshot(tmp_path):
    half = BehaviourConfig(steps=60, n_envs=2, snapshot_every=40, hyperparameters=TINY)
    train_behaviour(half, SHORT.make, tmp_path / "b")
    train_behaviour(BehaviourConfig(**{**vars(half), "steps": 100}), SHORT.make, tmp_path / "b")
    names = sorted(path.stem for path in (tmp_path / "b").glob("snapshot_*"))
    assert names == ["snapshot_00000040", "snapshot_00000060", "snapshot_00000100"]
    rows = (tmp_path / "b" / "progress.csv").read_text().split()[1:]
    assert [row.split(",")[0] for row in rows] == ["40", "60", "100"]


def test_choice_of_snapshots():
    assert choose({1: -3.0, 2: 60.0, 3: 40.0, 4: 100.0, 5: 90.0}) == {"expert": 4, "medium": 3, "random": 0}
    assert choose({1: -300.0, 2: -100.0, 3: -180.0}) == {"expert": 2, "medium": 3, "random": 0}
    assert choose({1: 350.0, 2: 1000.0, 3: 3100.0, 4: 3200.0})["medium"] == 2  # the first beyond half is an expert


def test_a_finished_level_is_never_overwritten(collected):
    space = SHORT.make().action_space
    episodes = play(random_actor(space.low, space.high), SHORT, [1])
    with pytest.raises(UserError, match="exists and is not overwritten"):
        write_minari(collected[0] / "data" / "expert", SHORT, episodes, {"dataset_id": "x-v0"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["env=Shirt"], "did you mean Short"),
        (["algorithm=DQN"], "SAC, TQC, PPO"),
        (["hyperparameters={lr: 1}"], "lr"),
        (["steps=0"], "steps=0: must be 1 or more"),
        (["evaluation_episodes=-1"], "evaluation_episodes=-1"),
        (["levels.random=-2"], r"levels\.random=-2"),
        (["levels.random=0", "levels.medium=0", "levels.expert=0"], "levels: all are 0"),
        (["seed=-1"], "seed=-1: must be 0 to 999"),
        (["seed=5000000000"], "seed=5000000000: must be 0 to 999"),
        (["hyperparameters={learning_rate: fast}"], "hyperparameters=.*learning_rate must be a number"),
        (["hyperparameters={batch_size: 1.5}"], "hyperparameters=.*batch_size must be an integer"),
        (["hyperparameters={learning_rate: -1}"], "hyperparameters=.*SAC refuses them"),
        (["hyperparameters={device: gpu}"], "hyperparameters=.*gpu"),
        (["hyperparameters={policy_kwargs: {net_arch: [wide]}}"], "hyperparameters=.*SAC refuses them"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, words, message):
    with pytest.raises(UserError, match=message) as error:
        main(compose("collect", [*WORDS, *words, f"run_dir={tmp_path / 'run'}"]))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def refused(run_dir, *words):
    """The one line that a run ends with; no file is made or changed."""
    before = {str(path): path.is_file() and path.read_bytes() for path in run_dir.parent.rglob("*")}
    with pytest.raises(UserError) as error:
        main(compose("collect", [*WORDS, *words, f"run_dir={run_dir}"]))
    assert {str(path): path.is_file() and path.read_bytes() for path in run_dir.parent.rglob("*")} == before
    assert "\n" not in str(error.value) and str(run_dir) in str(error.value)
    return str(error.value)


def test_bad_input_is_exit_2(capsys):
    with pytest.raises(SystemExit) as stop:
        command("collect", main, [*WORDS, "seed=-1"])
    assert stop.value.code == 2 and "seed=-1" in capsys.readouterr().err


def test_a_run_dir_of_another_kind_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refused(tmp_path / "file")
    assert "cannot write" in refused(tmp_path / "file" / "run")
    assert "no collect.json" in refused(tmp_path)


def test_too_little_disk_space_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 60, 50_000_000))
    assert "needs 50 MB of disk space and 50 MB are free" in refused(tmp_path / "run")
    words = ["steps=20000", f"hyperparameters={json.dumps(TINY | {'buffer_size': 9000})}"]
    assert "needs 68 MB" in refused(tmp_path / "run", *words)


def test_a_level_is_not_begun_where_the_disk_is_too_small(tmp_path, monkeypatch):
    space = SHORT.make().action_space
    episodes = play(random_actor(space.low, space.high), SHORT, range(100))  # 1300 rows of 23 numbers and 32 bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1_000_000))
    with pytest.raises(CannotWrite, match=r"set: needs \d+ MB of disk space and 1 MB are free"):
        write_episodes(tmp_path / "set", SHORT, episodes, {"dataset_id": "x-v0"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ['{"env": "Sho', "[1]", ""])
@pytest.mark.parametrize("name", ["collect.json", "selection.json"])
def test_damaged_json_is_one_line(collected, tmp_path, name, text):
    run_dir = shutil.copytree(collected[0], tmp_path / "run")
    (run_dir / name).write_text(text)
    assert f"{name}: was damaged" in refused(run_dir)


def damages(path):
    """Each way to damage a tensor file."""
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


@pytest.mark.parametrize("options", [{}, {"ent_coef": 0.1}])
def test_the_training_state_comes_back_bit_for_bit(tmp_path, options):
    config = BehaviourConfig(steps=60, n_envs=2, snapshot_every=60, hyperparameters=TINY | options)
    state = train_behaviour(config, SHORT.make, tmp_path) / "training_state.safetensors"
    agent = make_behaviour(config, SHORT.make)
    load_training_state(agent, state)
    save_training_state(agent, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == state.read_bytes()


def test_progress_shows_speed_and_time_left(tmp_path, capsys):
    train_behaviour(BehaviourConfig(steps=60, n_envs=2, hyperparameters=TINY), SHORT.make, tmp_path)
    assert "steps/s" in (shown := capsys.readouterr().out) and "left" in shown


def test_a_run_made_with_other_settings_is_refused(collected):
    before = sorted(str(path) for path in collected[0].rglob("*"))
    with pytest.raises(UserError, match="was made with another seed"):
        main(compose("collect", [*WORDS, "seed=1", f"run_dir={collected[0]}"]))
    assert sorted(str(path) for path in collected[0].rglob("*")) == before


@pytest.mark.parametrize("name", ["Pusher", "gym:Pendulum-v1"])
def test_files_hold_the_environments_own_units(name, tmp_path):
    entry = env_entry(name)
    box = entry.make().action_space
    episodes = play(random_actor(box.low, box.high), entry, [1, 2])
    write_minari(tmp_path / "set", entry, episodes, {"dataset_id": "x-v0", "env_id": entry.gym_id})
    stored = minari.MinariDataset(tmp_path / "set" / "data")
    assert stored.spec.action_space == entry.own_spaces[1] == entry.make().unwrapped.action_space
    own = np.concatenate([episode.actions for episode in stored.iterate_episodes()])
    read, played = load_trajectories(tmp_path / "set", entry), np.concatenate([e.actions for e in episodes])
    assert 1.9 < abs(own).max() <= 2 and 0.95 < abs(played).max() <= 1
    assert np.allclose(read.actions, played, atol=1e-6) and read.actions.dtype == np.float32
    env = gymnasium.make(entry.gym_id)  # what is on disk needs nothing of this program
    env.reset(seed=1)
    rewards = [env.step(action)[1] for action in stored[0].actions]
    assert np.allclose(rewards, episodes[0].rewards, atol=1e-4)


def test_metadata_of_an_environment_without_references(tmp_path):
    main(compose("collect", ["env=gym:Pendulum-v1", "steps=60", f"hyperparameters={json.dumps(TINY)}", "n_envs=1",
                             "levels.expert=0", "levels.medium=0", "selection_episodes=1", "evaluation_episodes=1",
                             "levels.random=2", f"run_dir={tmp_path / 'run'}"]))  # fmt: skip
    info = json.loads((tmp_path / "run" / "data" / "random" / "data" / "metadata.json").read_text())
    assert info["dataset_id"] == "weit_rl/gym-pendulum-v1/random-v0" and info["env"] == "gym:Pendulum-v1"
    assert info["reference_returns"] == {"random": None, "expert": None}
    minari.MinariDataset(tmp_path / "run" / "data" / "random" / "data")  # reads it


PPO = {"n_steps": 20, "batch_size": 20, "n_epochs": 2, "policy_kwargs": {"net_arch": [8]}}
ROLLOUTS = BehaviourConfig("PPO", steps=80, n_envs=2, snapshot_every=40, hyperparameters=PPO)


def test_ppo_learns_from_scaled_observations_and_acts_by_its_snapshot_alone(tmp_path):
    folder = train_behaviour(ROLLOUTS, SHORT.make, tmp_path)
    agent = load_snapshot(make_behaviour(ROLLOUTS, SHORT.make), folder / "snapshot_00000080.safetensors")
    extractor = agent.policy.features_extractor
    assert extractor.count == 80 and extractor.variance.max() > 2
    shifted = torch.from_numpy(play(random_actor(-np.ones(6), np.ones(6)), SHORT, [1])[0].observations)
    assert extractor(shifted).abs().mean() < shifted.abs().mean()


def test_ppo_goes_on_with_its_statistics(tmp_path):
    state = train_behaviour(ROLLOUTS, SHORT.make, tmp_path) / "training_state.safetensors"
    card = read_card(state)
    assert card["rewards"]["count"] == pytest.approx(80, abs=1) and card["step"] == 80
    agent = make_behaviour(ROLLOUTS, SHORT.make)
    load_training_state(agent, state)
    save_training_state(agent, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == state.read_bytes()


def test_running_statistics_are_those_of_everything_seen():
    from gymnasium import spaces

    from weit_rl.agents.running_statistics import ScaledObservations

    extractor = ScaledObservations(spaces.Box(-np.inf, np.inf, (3,)))
    parts = [torch.randn(n, 3) * 5 + torch.tensor([1.0, -200.0, 7.0]) for n in (7, 1, 90)]
    for part in parts:
        extractor.take_in(part)
    seen = torch.cat(parts).double()
    assert torch.allclose(extractor.mean, seen.mean(0)) and torch.allclose(
        extractor.variance, seen.var(0, unbiased=False)
    )
    assert torch.allclose(
        extractor(parts[2]), ((parts[2] - seen.mean(0)) / seen.std(0, unbiased=False)).float(), atol=1e-4
    )
