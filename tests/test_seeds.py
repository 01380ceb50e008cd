"""Seeds of runs, and the episode seeds that are set aside for each use."""

import numpy as np
import pytest

from weit_rl.agents.levels import EVALUATION_SEED, LEVEL_SEEDS, LEVELS, RECORDING_SEED, SELECTION_SEED
from weit_rl.agents.online import make_online
from weit_rl.common.seeds import COMPARISON, MOST_SEED, RECORDED, TEST, VALIDATION, training_seed
from weit_rl.envs.registry import env_entry
from weit_rl.options.choices import check_numbers
from weit_rl.options.command import compose

USES = (VALIDATION, TEST, COMPARISON, RECORDED)
RUNS = [*range(1100), 4242, 100_000, 1_000_000, 2_000_000, 4_000_000, 5_000_000, 8_000_000, 2**30, MOST_SEED]
LEVELS_OF_DATA = [(first, first + LEVEL_SEEDS) for first in (SELECTION_SEED, EVALUATION_SEED)]
LEVELS_OF_DATA += [(RECORDING_SEED, RECORDING_SEED + LEVEL_SEEDS * len(LEVELS))]
WORKERS = 1000  # environments that a policy is trained in: each has the seed after the one before it


def test_uses_of_episodes_have_disjoint_seeds():
    spans = [{(use.of(seed), use.of(seed) + use.apart) for seed in RUNS} for use in USES]
    spans += [set(LEVELS_OF_DATA), {(training_seed(seed), training_seed(seed) + WORKERS) for seed in RUNS}]
    edges = sorted((*span, number) for number, part in enumerate(spans) for span in part)
    reached, owner = 0, -1
    for low, high, number in edges:
        assert low >= reached or number == owner, (low, high)
        reached, owner = max(reached, high), number if high > reached else owner
    assert reached <= 2**32  # which MuJoCo's and NumPy's older generators take


@pytest.mark.parametrize("use", USES)
def test_runs_have_disjoint_seeds(use):
    firsts = [use.of(seed) for seed in RUNS]
    assert len(set(firsts)) == len(RUNS) and min(np.diff(sorted(firsts))) >= use.apart


@pytest.mark.parametrize(("use", "first", "apart"), [
    (VALIDATION, 1_000_000, 1000), (TEST, 2_000_000, 1000),
    (COMPARISON, 8_000_000, 1000), (RECORDED, 7_000_000, 100_000),
])  # fmt: skip
def test_runs_of_small_seeds_repeat(use, first, apart):
    assert [use.of(seed) for seed in (0, 1, 9)] == [first, first + apart, first + 9 * apart]
    assert training_seed(999) == 999 and (use is RECORDED or use.of(999) == first + 999 * apart)


def test_trainings_of_different_seeds_differ():
    assert len({training_seed(seed) for seed in RUNS}) == len(RUNS)


@pytest.mark.parametrize("seed", [1000, 20_261_201, MOST_SEED])
def test_every_environment_takes_the_seeds(seed):
    check_numbers(compose("train", [f"seed={seed}"]))
    env = env_entry("Hopper").make()
    np.random.RandomState(training_seed(seed) + WORKERS - 1)  # what dm_control draws from
    for first in (*(use.of(seed) for use in USES), training_seed(seed)):
        seen, _ = env.reset(seed=first)
        assert (seen == env.reset(seed=first)[0]).all() and not (seen == env.reset(seed=first + 1)[0]).all()
    agent = make_online("sac", env_entry("Hopper"), 2, seed, {"buffer_size": 100})
    assert agent.seed == training_seed(seed) and agent.env.reset().shape[0] == 2
