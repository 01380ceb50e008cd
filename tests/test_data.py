"""Trajectories: what is computed from episodes, and the windows drawn from them."""

import numpy as np
import pytest
import torch
from conftest import made_up

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.data import Trajectories, Windows, load_trajectories
from weit_rl.data.readers import shipped_levels
from weit_rl.envs.registry import env_entry
from weit_rl.tasks.control import Control, ControlConfig

HALFCHEETAH = env_entry("HalfCheetah")


def test_returns_and_returns_to_go_by_hand():
    three = [np.zeros((3, 1)), np.zeros((3, 1)), np.array([1.0, 2.0, 3.0])]
    two = [np.zeros((2, 1)), np.zeros((2, 1)), np.array([-1.0, 0.5])]
    made = Trajectories.join([tuple(three), tuple(two)], {})
    assert made.returns_to_go().tolist() == [6, 5, 3, -0.5, 0.5]
    assert made.returns().tolist() == [6, -0.5]
    assert (made.steps, made.episodes, made.lengths.tolist(), made.starts.tolist()) == (5, 2, [3, 2], [0, 3, 5])
    assert made.observations.dtype == made.actions.dtype == made.rewards.dtype == np.float32


@pytest.mark.parametrize(("episodes", "best"), [(1, 1), (4, 1), (20, 2), (40, 4)])
def test_target_return_is_the_mean_of_the_best_tenth(episodes, best):
    made = made_up([4] * episodes)
    assert made.target_return() == pytest.approx(np.sort(made.returns())[-best:].mean())


def test_statistics_do_not_scale_constant_columns():
    made = made_up([50])
    made.observations[:, 3] = 7
    mean, std = made.statistics()
    assert mean[3] == 7 and std[3] == 1
    assert std[0] == pytest.approx(made.observations[:, 0].std(), rel=1e-5)


def test_split_keeps_episodes_whole_and_apart():
    made = made_up(range(2, 12))
    training, validation = made.split(0.3, seed=1)
    assert (training.episodes, validation.episodes) == (7, 3)
    assert sorted([*training.lengths, *validation.lengths]) == list(range(2, 12))
    assert training.lengths.tolist() == made.split(0.3, seed=1)[0].lengths.tolist()
    assert any(training.lengths.tolist() != made.split(0.3, seed)[0].lengths.tolist() for seed in range(2, 6))
    assert [part.episodes for part in made_up([2, 2]).split(0.01, 0)] == [1, 1]
    assert [part.episodes for part in made_up([2, 2]).split(0.99, 0)] == [1, 1]


def test_split_refuses_one_episode_and_odd_fractions():
    with pytest.raises(UserError, match="one episode"):
        made_up([5]).split(0.5, 0)
    with pytest.raises(UserError, match=r"validation_fraction=1\.5"):
        made_up([5, 5]).split(1.5, 0)


@pytest.mark.parametrize("model", ["dt", "mlp"])
def test_a_single_episode_is_trained_on_and_validated_on(model):
    made = made_up([30])
    task = Control(HALFCHEETAH, made, ControlConfig(model, context=4))
    assert task.windows.steps == task.held_windows.steps == 30
    assert any("one episode, so none is held out" in line for line in task.remarks())
    assert not any("held out" in line for line in Control(HALFCHEETAH, made_up([9, 9]), ControlConfig(model)).remarks())


def test_actions_outside_the_environments_bounds_are_refused():
    data = made_up([3, 3])
    data.actions[2, 1] = -1.1
    with pytest.raises(UserError, match=r"HalfCheetah: actions lie outside \[-1, 1\], .*; rescale"):
        Control(HALFCHEETAH, data, ControlConfig(context=3))
    data = made_up([3, 3], observation=23, action=7)
    data.actions[2, 1] = 1.1
    with pytest.raises(UserError, match=r"Pusher: actions lie outside \[-2, 2\]"):
        Control(env_entry("Pusher"), data, ControlConfig(context=3))


# --- windows


@pytest.mark.parametrize("context", [1, 4, 20])
def test_windows_against_a_loop(context):
    made = made_up([1, 3, 7, 30])
    ends = torch.arange(made.steps)
    batch = Windows(made, context).gather(ends)
    to_go = made.returns_to_go()
    for row, end in enumerate(ends.tolist()):
        start = max(s for s in made.starts if s <= end)
        steps = list(range(max(start, end - context + 1), end + 1))
        real = len(steps)
        assert batch["mask"][row].tolist() == [True] * real + [False] * (context - real)
        assert batch["timesteps"][row].tolist() == [s - start for s in steps] + [0] * (context - real)
        for name, array in (("observations", made.observations), ("actions", made.actions), ("returns_to_go", to_go)):
            assert np.array_equal(batch[name][row, :real], array[steps])
            assert not batch[name][row, real:].any()


def test_sampling_is_seeded_and_reaches_every_step_evenly():
    made = made_up([2, 18, 5])
    made.observations[:, 0] = np.arange(made.steps)
    windows = Windows(made, 4)
    batch = windows.sample(20_000, torch.Generator().manual_seed(0))
    again = windows.sample(20_000, torch.Generator().manual_seed(0))
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    last = batch["observations"][torch.arange(20_000), batch["mask"].sum(1) - 1, 0].long()
    counts = torch.bincount(last, minlength=made.steps)
    assert (counts - 800).abs().max() < 160  # six standard deviations
    dtypes = {name: tensor.dtype for name, tensor in batch.items()}
    assert dtypes["timesteps"] == torch.int64 and dtypes["mask"] == torch.bool
    assert dtypes["observations"] == dtypes["actions"] == dtypes["returns_to_go"] == torch.float32


@pytest.mark.parametrize("context", [1, 4, 20])
@pytest.mark.parametrize("weights", [None, [3, 1]])
def test_even_windows_hold_every_step_equally_often(context, weights):
    sets = [made_up([2, 18, 5], seed=1), made_up([7, 30], seed=2)]
    made = Trajectories.mix(sets, weights) if weights else sets[0]
    made.observations[:, 0] = np.arange(made.steps)
    batch = Windows(made, context, even=True).sample(30_000, torch.Generator().manual_seed(0))
    seen = batch["observations"][..., 0][batch["mask"]].long()
    shares = np.repeat([0.75 / 25, 0.25 / 37], [25, 37]) if weights else np.full(25, 1 / 25)
    counts = torch.bincount(seen, minlength=made.steps).numpy() / len(seen)
    assert np.allclose(counts, shares, rtol=0.2)
    real = batch["mask"].sum(1)
    assert (real >= 1).all() and (batch["mask"].cumsum(1)[:, -1] == real).all() and batch["mask"][:, 0].all()
    steps = batch["observations"][..., 0]
    together = batch["mask"][:, 1:]
    assert ((steps[:, 1:] - steps[:, :-1])[together] == 1).all()  # of one episode, in order
    assert (batch["timesteps"][:, 1:][together] > 0).all()


@pytest.mark.parametrize("model", ["mlp", "dt", "tcn"])
def test_a_model_without_memory_trains_on_as_many_single_steps(model):
    made = made_up([4, 9, 6])
    made.observations[:, 0] = np.arange(made.steps)
    task = Control(HALFCHEETAH, made, ControlConfig(model, context=5, batch_size=2000, validation_fraction=0.01))
    batch = task.batch(0)
    assert batch["mask"].shape == ((10_000, 1) if model == "mlp" else (2000, 5))
    if model == "mlp":
        kept = task.windows.steps
        counts = torch.bincount(batch["observations"][:, 0, 0].long())
        drawn = counts[counts > 0]
        assert len(drawn) == kept and (drawn - 10_000 / kept).abs().max() < 6 * (10_000 / kept) ** 0.5


def test_windows_refuse_an_empty_context():
    with pytest.raises(UserError, match="context=0"):
        Windows(made_up([3]), 0)


def test_sets_are_mixed_and_taken_apart():
    one, other = made_up([3, 5], seed=1), made_up([4], seed=2)
    both = Trajectories.mix([one, other])
    assert both.lengths.tolist() == [3, 5, 4] and both.origin.tolist() == [0, 0, 1]
    again = both.subset([2, 0, 1])
    assert again.origin.tolist() == [1, 0, 0]
    for steps, before in zip(again.steps_by_origin(), (one, other), strict=True):
        assert np.array_equal(again.observations[steps], before.observations)
        assert np.array_equal(again.rewards[steps], before.rewards)


def test_levels_are_mixed_by_name():
    assert {"medium", "expert"} <= set(shipped_levels(HALFCHEETAH))
    parts = [load_trajectories(level, HALFCHEETAH) for level in ("medium", "expert")]
    mixed = load_trajectories("medium+expert", HALFCHEETAH)
    assert mixed.episodes == sum(part.episodes for part in parts)
    assert np.array_equal(mixed.returns(), np.concatenate([part.returns() for part in parts]))
    with pytest.raises(UserError, match=r"medium\+expart"):
        load_trajectories("medium+expart", HALFCHEETAH)


def test_the_best_episodes_in_their_order():
    data = made_up([3, 3, 3, 3], seed=4)
    best = data.best(0.5)
    assert best.returns().tolist() == [r for r in data.returns() if r in sorted(data.returns())[-2:]]
    assert data.best(0.01).episodes == 1 and data.best(1.0).episodes == 4


def test_a_limited_number_of_episodes_is_the_same_everywhere():
    data = made_up([6] * 10, seed=1)
    few, more = (data.drawn(count, seed=0) for count in (2, 5))
    assert (few.episodes, more.episodes) == (2, 5) and set(few.returns()) < set(more.returns())
    task = Control(HALFCHEETAH, data, ControlConfig(context=3, data_episodes=2))
    assert task.windows.steps == 12 and task.held_windows.steps == 6
    held = data.split(0.1, 0)[1]
    assert not set(task.trajectories.returns()) & set(held.returns())
    np.testing.assert_array_equal(task.build(Size(64, 1)).observation_mean, task.trajectories.statistics().mean)
    with pytest.raises(UserError, match="data_episodes=10: there are 9"):
        Control(HALFCHEETAH, data, ControlConfig(context=3, data_episodes=10))


def test_the_task_trains_on_the_best_episodes_that_are_not_held_out():
    data = Trajectories.mix([made_up([6] * 10, seed=1), made_up([6] * 10, seed=2)])
    task = Control(HALFCHEETAH, data, ControlConfig(context=3, best_fraction=0.25))
    assert task.held_windows.steps == 12 and task.windows.steps == 24  # 2 of 20 held out; a quarter of 18, rounded
    assert Control(HALFCHEETAH, made_up([6] * 10), ControlConfig(context=3)).domains() is None
    task = Control(HALFCHEETAH, data, ControlConfig(context=3, batch_size=8))
    training = data.split(0.1, 0)[0]
    rows = [task.windows.gather(torch.from_numpy(steps))["observations"] for steps in training.steps_by_origin()]
    seen = []

    def net(observations, *_):
        seen.append(observations)
        return torch.zeros(*observations.shape[:2], 6)

    losses = [domain(net, 3) for domain in task.domains()]
    assert len(losses) == 2 and all(torch.isfinite(loss) for loss in losses)
    for batch, own, other in zip(seen, rows, rows[::-1], strict=True):
        assert len(batch) == 4  # a batch is shared among them
        assert all((window == own).flatten(1).all(1).any() for window in batch)
        assert not any((window == other).flatten(1).all(1).any() for window in batch)
