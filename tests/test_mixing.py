"""Several sets mixed with weights: what is drawn, what it is normalised by, and what is refused."""

import numpy as np
import pytest
import torch
from conftest import TINY_TRAIN, made_up
from test_npz import write

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.comparison.grid import Grid
from weit_rl.data import Trajectories, Windows, load_trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.train import main as train

HALFCHEETAH = env_entry("HalfCheetah")


def two_sets(weights=None, number=(0.0, 1.0)):
    """Write sets of 30 and 10 steps; the first observation says which set a step is of."""
    sets = [made_up([10] * 3, seed=1), made_up([4, 6], seed=2)]
    for one, value in zip(sets, number, strict=True):
        one.observations[:, 0] = value
    return Trajectories.mix(sets, weights)


def drawn(mixed, count=20_000, context=3):
    batch = Windows(mixed, context).sample(count, torch.Generator().manual_seed(0))
    last = batch["observations"][torch.arange(count), batch["mask"].sum(1) - 1]
    return last, batch


@pytest.mark.parametrize(("weights", "share"), [(None, 0.25), ([3, 1], 0.25), ([1, 1], 0.5), ([0.2, 1.8], 0.9)])
def test_windows_are_drawn_by_weight_and_evenly_within_a_set(weights, share):
    mixed = two_sets(weights)
    last, batch = drawn(mixed)
    assert last[:, 0].mean().item() == pytest.approx(share, abs=0.02)
    counts = [int((last == torch.from_numpy(row)).all(1).sum()) for row in mixed.observations[-10:]]
    assert np.allclose(counts, share * 2000, atol=6 * np.sqrt(share * 2000))
    assert batch["mask"].any(1).all()


def test_the_order_of_the_episodes_does_not_matter():
    mixed = two_sets([1, 4]).subset([4, 0, 3, 1, 2])
    assert drawn(mixed)[0][:, 0].mean().item() == pytest.approx(0.8, abs=0.02)


def test_draws_are_seeded():
    windows = Windows(two_sets([1, 4]), 3)
    one, two = (windows.sample(50, torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_shares_leave_out_a_set_without_episodes():
    assert two_sets([1, 4]).shares().sum() == pytest.approx(1)
    assert two_sets([1, 4]).subset([0, 1]).shares().tolist() == [0.5, 0.5]
    assert two_sets().shares() is None


@pytest.mark.parametrize("weights", [[1, 1], [9, 1]])
def test_observations_are_normalised_as_they_are_drawn(weights):
    mixed = two_sets(weights)
    mean, std = mixed.statistics()
    last, _ = drawn(mixed)
    assert np.allclose(mean, last.mean(0), atol=0.05) and np.allclose(std, last.std(0), atol=0.05)
    net = Control(HALFCHEETAH, mixed, ControlConfig(context=3)).build(Size(32, 1))
    assert np.array_equal(net.observation_mean, mean) and mean.dtype == np.float32


def test_weights_by_number_of_steps_are_as_none():
    for one, two in zip(two_sets([3, 1]).statistics(), two_sets().statistics(), strict=True):
        assert np.allclose(one, two, atol=1e-6)


def test_domains_get_equal_parts_whatever_the_weights():
    task = Control(HALFCHEETAH, two_sets([9, 1]), ControlConfig(context=3, batch_size=8))
    seen = []

    def net(observations, *_):
        seen.append(observations[:, 0, 0])
        return torch.zeros(*observations.shape[:2], 6)

    for domain in task.domains():
        domain(net, 0)
    assert [values.tolist() for values in seen] == [[0] * 4, [1] * 4]


def test_a_weighted_set_without_episodes_left_is_refused():
    data = two_sets([1, 1])
    data.rewards[:30] += 100
    with pytest.raises(UserError, match=r"data_weights=\[1.0, 1.0\]: one of the sets has no episode left"):
        Control(HALFCHEETAH, data, ControlConfig(context=3, best_fraction=0.4))


@pytest.fixture
def two_folders(tmp_path):
    folders = []
    for name, seed in (("a+b*c", 1), ("d=e", 2)):
        one = made_up([8] * 4, seed=seed)
        episodes = [one.subset([i]) for i in range(4)]
        names = ("observations", "actions", "rewards")
        folders.append(
            write(tmp_path / name, {f"{i}": {n: getattr(e, n) for n in names} for i, e in enumerate(episodes)})
        )
    return folders


def test_any_sets_are_named_in_a_list(two_folders):
    mixed = load_trajectories([*two_folders, "random"], HALFCHEETAH, weights=[1, 2, 3])
    assert mixed.episodes == 28 and mixed.weights.tolist() == [1, 2, 3]
    assert np.bincount(mixed.origin).tolist() == [4, 4, 20]
    both = load_trajectories(["random+medium", two_folders[0]], HALFCHEETAH)
    assert np.bincount(both.origin).tolist() == [20, 40, 4] and both.weights is None
    assert load_trajectories([two_folders[0]], HALFCHEETAH, weights=[1]).episodes == 4


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1], "data has 2 (expert, medium); give one weight for each"),
        ([1, 2, 3], "data has 2"),
        ([1, 0], "must be more than 0"),
        ([1, -1], "must be more than 0"),
        ([1, float("nan")], "must be more than 0"),
        ([1, float("inf")], "must be more than 0"),
    ],
)
def test_weights_that_are_refused(weights, says):
    with pytest.raises(UserError, match="data_weights=") as error:
        load_trajectories("expert+medium", HALFCHEETAH, weights=weights)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_no_set_is_refused():
    with pytest.raises(UserError, match="names no set"):
        load_trajectories([], HALFCHEETAH)


def test_words_of_the_options(two_folders):
    cfg = compose("train", [f"data=[expert,{two_folders[0]}, '{two_folders[1]}']", "data_weights=[3, 0.5,1e-1]"])
    assert list(cfg.data) == ["expert", *map(str, two_folders)] and list(cfg.data_weights) == [3, 0.5, 0.1]
    assert compose("train", ["data=[x]"]).data == "[x]"
    for word, says in (("data=[a, {b: c}]", "a list such as"), ("data_weights=[a]", "list of numbers")):
        with pytest.raises(UserError, match=says):
            compose("train", [word])


def test_a_comparison_passes_sets_and_weights_on(two_folders):
    words = [f"data=[expert, {two_folders[0]}]", "data_weights=[3,1]"]
    grid = Grid.of(compose("benchmark", words))
    cfg = grid.train_options()
    assert list(cfg.data) == ["expert", str(two_folders[0])] and list(cfg.data_weights) == [3, 1]
    assert Grid.of(compose("benchmark")).train_options().data_weights is None


def test_training_on_weighted_sets(two_folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mix = [f"data=[{two_folders[0].name}/,{two_folders[1]}]", "data_weights=[3,1]"]
    words = [*TINY_TRAIN, *mix, "init=scratch", "train_steps=2", "validation_episodes=0", "run_dir=run"]
    train(compose("train", words))
    assert "data (a+b*c+d=e)" in capsys.readouterr().out
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert str(two_folders[0]) in config  # absolute, to be gone on with from anywhere


def test_bad_words_are_one_line(refused, words):
    assert "give one weight for each" in refused("train", *words["train"], "data_weights=[1, 2]")
    assert "data='expertt'" in refused("pretrain", *words["pretrain"], "data=[expert, expertt]")
