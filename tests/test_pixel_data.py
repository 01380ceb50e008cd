"""Data in pictures: drawn, stored, stacked and trained on, and what is refused."""

import h5py
import numpy as np
import pytest
import torch
from conftest import TINY, TINY_PRETRAIN, TINY_TRAIN, draws

from weit_rl.agents.pictures import Replay, write_episodes
from weit_rl.agents.recording import play, random_actor
from weit_rl.collect import main as collect
from weit_rl.common.errors import UserError
from weit_rl.data import Trajectories, Windows, load_trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.evaluate import main as evaluate
from weit_rl.options.command import compose
from weit_rl.pretrain import main as pretrain
from weit_rl.train import main as train

SMALL = "Reacher:pixels=16"


@pytest.fixture(scope="module")
def drawn(screen, tmp_path_factory):
    """Record and draw three episodes of Reacher; return them and the folder of their states."""
    folder = tmp_path_factory.mktemp("drawn")
    entry = env_entry("Reacher")
    episodes = play(random_actor(-np.ones(2, np.float32), np.ones(2, np.float32)), entry, [3, 4, 5])
    write_episodes(folder / "states", entry, episodes, {"dataset_id": "weit_rl/reacher/mine-v0"})
    words = ["mode=render", "env=Reacher", "pixels=16", f"data={folder / 'states'}", f"run_dir={folder / 'pixels'}"]
    collect(compose("collect", words))
    return folder


@draws
def test_episodes_are_drawn_as_they_were_played_and_each_frame_is_stored_once(drawn):
    entry = env_entry(SMALL)
    read, states = load_trajectories(drawn / "pixels", entry), load_trajectories(drawn / "states", env_entry("Reacher"))
    assert read.observations.dtype == np.uint8 and read.observations.shape == (150, 3, 16, 16)
    assert np.array_equal(read.actions, states.actions) and np.array_equal(read.rewards, states.rewards)
    with h5py.File(drawn / "pixels" / "data" / "main_data.hdf5") as file:
        assert file["episode_0"]["observations"].shape == (51, 3, 16, 16)
        assert file["episode_0"].attrs["seed"] == 3 and bool(file["episode_0"]["truncations"][-1])
    env, windows = entry.make(), Windows(read, 1)
    seen, _ = env.reset(seed=4)
    for step in range(4):
        batch = windows.gather(torch.tensor([50 + step]))
        assert np.array_equal(batch["observations"][0, 0].numpy(), seen)
        seen, *_ = env.step(read.actions[50 + step])


@draws
def test_a_drawn_set_keeps_the_states_for_models_that_see_both(drawn):
    entry = env_entry(SMALL).with_pictures_and_state
    read, states = load_trajectories(drawn / "pixels", entry), load_trajectories(drawn / "states", entry.states)
    assert np.array_equal(read.states, states.observations) and read.observation_dim == [10, 9, 16, 16]
    np.testing.assert_array_equal(read.statistics().std, states.statistics().std)
    env, (training, held) = entry.make(), read.split(0.4, 0)
    assert np.array_equal(np.sort(np.concatenate([training.states, held.states]), 0), np.sort(read.states, 0))
    twice = Trajectories.mix([held, read])
    seen, _ = env.reset(seed=4)
    for step in range(4):
        first = 50 * held.episodes + 50 + step
        batch = Windows(twice, 2).gather(torch.tensor([first]))
        assert np.array_equal(batch["observations"][0, min(step, 1)].numpy(), seen)
        seen, *_ = env.step(read.actions[50 + step])


@draws
def test_a_set_without_states_is_refused_for_models_that_need_them(drawn, tmp_path, refused):
    entry = env_entry(SMALL)
    bare = Trajectories.join([(np.zeros((5, 3, 16, 16), np.uint8), np.zeros((5, 2)), np.zeros(5))] * 2, {})
    for i in range(bare.episodes):
        one = bare.subset([i])
        np.savez(tmp_path / f"{i}.npz", observations=one.observations, actions=one.actions, rewards=one.rewards)
    assert load_trajectories(tmp_path, entry).episodes == 2
    words = ["env=Reacher", "pixels=16", "model=multimodal", "init=scratch", f"data={tmp_path}", *TINY]
    assert "has no states of Reacher beside its pictures, and this model sees both; draw a" in refused("train", *words)


def test_frames_are_stacked_within_their_episode_and_padding_is_dark():
    frames = np.arange(1, 8, dtype=np.uint8).reshape(7, 1, 1, 1) * np.ones((1, 3, 16, 16), np.uint8)
    parts = [(frames[:4], np.zeros((4, 2)), np.ones(4)), (frames[4:], np.zeros((3, 2)), np.ones(3))]
    data = Trajectories.join(parts, {}, stack=3)
    batch = Windows(data, 2).gather(torch.tensor([0, 3, 4, 6]))
    assert batch["observations"].dtype == torch.uint8 and batch["observations"].shape == (4, 2, 9, 16, 16)
    shown = batch["observations"][:, :, ::3, 0, 0].tolist()
    assert shown == [[[1, 1, 1], [0, 0, 0]], [[1, 2, 3], [2, 3, 4]], [[5, 5, 5], [0, 0, 0]], [[5, 5, 6], [5, 6, 7]]]
    assert data.subset([1]).stack == 3 and data.observation_dim == [9, 16, 16]
    assert {float(part.item(0)) for part in data.statistics()} == {127.5}


@draws
@pytest.mark.parametrize(
    ("model", "env"),
    [
        pytest.param("conv", SMALL, marks=pytest.mark.slow),
        pytest.param("video", SMALL, marks=pytest.mark.slow),
        ("multimodal", f"{SMALL}+state"),  # pictures and states
    ],
)
def test_a_bank_and_a_network_are_trained_and_scored_in_pictures(model, env, drawn, tmp_path):
    words = ["env=Reacher", "pixels=16", f"model={model}", f"data={drawn / 'pixels'}"]
    pretrain(compose("pretrain", [*TINY_PRETRAIN, *words, "score_sizes=[]", "steps=4", f"run_dir={tmp_path / 'pre'}"]))
    words += [f"bank={tmp_path / 'pre' / 'bank.safetensors'}", f"run_dir={tmp_path / 'run'}"]
    report = train(compose("train", [*TINY_TRAIN, *words, "scaler_steps=2", "train_steps=2"]))
    assert (report["env"], report["size"]) == (env, "96x3") and np.isfinite(report["return_mean"])
    again = evaluate(compose("evaluate", [f"run={tmp_path / 'run'}", "checkpoint=last", "episodes=1", "device=cpu"]))
    assert again["return_mean"] == pytest.approx(report["return_mean"], rel=1e-6)


@draws
def test_data_of_the_other_kind_are_refused(drawn, refused):
    words = ["env=Reacher", "init=scratch", "episodes=1"]
    says = refused("train", *words, "pixels=16", "model=conv", f"data={drawn / 'states'}")
    assert "observation size 10, but Reacher:pixels=16 has 3x16x16" in says and "collect mode=render makes" in says
    says = refused("train", "env=HalfCheetah", "pixels=16", "model=conv", "init=scratch", "data=expert")
    assert "(none does), or draw a set of states: python -m weit_rl.collect mode=render" in says
    assert "observation size 3x16x16, but Reacher has 10" in refused("train", *words, f"data={drawn / 'pixels'}")


@draws
def test_episodes_that_cannot_be_played_again_are_refused(drawn, refused, tiny_data, tmp_path):
    assert "holds no reset seeds" in refused("collect", "mode=render", f"data={tiny_data}", f"run_dir={tmp_path / 'x'}")
    assert "must be given with mode=render" in refused("collect", "mode=render")
    assert "episodes=0: must be 1 to 100000" in refused("collect", "mode=render", "data=expert", "episodes=0")
    assert "is for mode=inspect or render" in refused("collect", "data=expert")
    entry = env_entry(SMALL)
    episodes = play(random_actor(-np.ones(2, np.float32), np.ones(2, np.float32)), entry.states, [3])
    episodes[0].observations[7] += 0.1
    with pytest.raises(UserError, match="data x: played again from seed 3 it goes another way from step 7 on"):
        list(Replay(entry, "data x")(episodes))


@draws
def test_an_episode_that_ended_by_the_task_does_so_once_drawn():
    entry = env_entry(SMALL)
    played = play(random_actor(-np.ones(2, np.float32), np.ones(2, np.float32)), entry.states, [3])
    played[0].terminated = True  # its next step failed, as a replay does not see
    (drawn,) = Replay(entry, "data x")(played)
    assert drawn.terminated and len(drawn.observations) == len(played[0].observations)


@draws
def test_behaviour_data_are_recorded_in_pictures(tmp_path):
    words = ["env=Reacher", "pixels=16", "steps=120", "n_envs=2", "snapshot_every=60", f"run_dir={tmp_path / 'run'}"]
    words += ["levels.expert=2", "levels.medium=0", "levels.random=2", "selection_episodes=1", "evaluation_episodes=1"]
    words += ["hyperparameters={learning_starts: 60, policy_kwargs: {net_arch: [8]}}"]
    found = collect(compose("collect", words))
    for level in ("expert", "random"):
        read = load_trajectories(found[level]["path"], env_entry(SMALL))
        assert read.episodes == 2 and read.observations.shape[1:] == (3, 16, 16)
        assert read.returns().mean() == pytest.approx(found[level]["returns"]["recorded"]["return_mean"], abs=1e-3)
