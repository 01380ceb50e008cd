"""Episodes whose simulation failed are counted and never chosen; mistakes of callers and programs are raised."""

import importlib.util
import json
from dataclasses import asdict

import gymnasium
import mujoco
import numpy as np
import pytest
from conftest import small_net, write_hdf5
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from shared_envs import SUITE, refusal
from stable_baselines3 import PPO

from weit_rl.agents.crash_watch import FEW, CrashWatch
from weit_rl.agents.evaluation import evaluate, rollout
from weit_rl.agents.levels import LevelRecorder
from weit_rl.agents.online import environments
from weit_rl.agents.recording import play
from weit_rl.agents.video import choose_renderer
from weit_rl.common.errors import UserError
from weit_rl.comparison.cell import fields_of
from weit_rl.comparison.grid import Grid
from weit_rl.comparison.rates import read_rates
from weit_rl.comparison.results import Results
from weit_rl.comparison.tables import failed
from weit_rl.envs.crashes import BadAction, check_few, one_number
from weit_rl.envs.registry import ENVS, EnvEntry, env_entry
from weit_rl.evaluate import main as evaluate_command
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_card
from weit_rl.tasks.control import result_row
from weit_rl.train import main as train
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.run_scores import Scores

STEPS = 6


class Faulty(gymnasium.Env):
    """Gives ``reward`` in every step; raises ``error`` in step ``at`` of episodes whose seed is odd, or of all."""

    observation_space = spaces.Box(-np.inf, np.inf, (5,), np.float32)
    action_space = spaces.Box(-2, 2, (2,), np.float32)
    error, at, every, reward = None, 3, False, 1.0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.fails, self.steps = self.every or bool((seed or 0) % 2), 0
        return np.zeros(5, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.error and self.fails and self.steps == self.at:
            raise self.error
        return np.full(5, self.steps, np.float32), self.reward, False, self.steps == STEPS, {}


def make_faulty(gym_id, **kwargs):
    return Faulty()


ENTRY = EnvEntry("Faulty", "Faulty-v0", f"{__name__}:make_faulty", episode_steps=STEPS)


@pytest.fixture
def faulty(monkeypatch):
    """The class, whose attributes are put back, known to every command."""
    for name in ("error", "at", "every", "reward", "action_space"):
        monkeypatch.setattr(Faulty, name, getattr(Faulty, name))
    env_entry("Hopper")  # fills the registry
    monkeypatch.setattr(ENVS, "_things", ENVS._things | {"Faulty": ENTRY})
    return Faulty


def zeros(seen):
    return np.zeros((len(seen), 2), np.float32)


def net():
    return small_net("mlp", max_steps=STEPS).eval()


# --- what is raised, and what ends an episode


class SolverError(Exception):
    """As a simulator defines one."""


FAILURES = [FloatingPointError("x"), np.linalg.LinAlgError("x"), ValueError("math domain error"), RuntimeError("x")]
FAILURES += [mujoco.FatalError("x"), SolverError("x")]
MISTAKES = [AttributeError("x"), NameError("x"), TypeError("x"), KeyError("x"), IndexError("x"), AssertionError("x")]
MISTAKES += [ImportError("x"), NotImplementedError("x"), RecursionError("x"), OSError("x"), DeprecationWarning("x")]
MISTAKES += [gymnasium.error.InvalidAction("x")]


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_a_failed_simulation_ends_an_episode(error, faulty):
    faulty.error = error
    env = ENTRY.make()
    env.reset(seed=1)
    seen = [env.step(np.zeros(2)) for _ in range(2)]
    with pytest.warns(RuntimeWarning, match=f"failed in step 3 of an episode \\({type(error).__name__}"):
        last = env.step(np.zeros(2))
    assert last[1:4] == (0.0, True, False) and last[4]["crashed"] and np.array_equal(last[0], seen[-1][0])


@pytest.mark.parametrize("error", MISTAKES, ids=repr)
def test_a_mistake_in_a_program_is_raised_as_it_is(error, faulty):
    faulty.error = error
    with pytest.raises(type(error)) as caught:
        rollout(net(), [ENTRY.make()], [1])
    assert caught.value is error
    with pytest.raises(type(error)):
        play(zeros, ENTRY, [1])


@pytest.mark.filterwarnings("ignore")
def test_an_agent_learns_nothing_from_a_typo(faulty):
    faulty.error, faulty.every = AttributeError("no attribute 'stpes'"), True
    with pytest.raises(AttributeError, match="stpes"):
        PPO("MlpPolicy", environments(ENTRY, 1), n_steps=64, batch_size=64, device="cpu").learn(128)


@pytest.mark.parametrize("name", ["Faulty", "Hopper", "gym:Pendulum-v1"])
@pytest.mark.parametrize(("action", "says"), [("shape", "an action of shape"), (np.nan, "NaN"), (-np.inf, "NaN")])
def test_an_action_that_means_nothing_is_refused(name, action, says, faulty):
    env = env_entry(name).make()
    env.reset(seed=0)
    shape = env.action_space.shape
    given = np.zeros((1, *shape)) if action == "shape" else np.full(shape, action)
    with pytest.raises(ValueError, match=says) as error:
        env.step(given)
    assert isinstance(error.value, BadAction) and isinstance(error.value, UserError)
    assert not env.step(np.zeros(shape))[2]  # nothing has happened


@pytest.mark.parametrize("name", ["Faulty", "Reacher", pytest.param("dmc/point_mass-easy", marks=SUITE)])
def test_a_step_needs_a_reset(name, faulty):
    env = env_entry(name).make()
    action = np.zeros(env.action_space.shape)
    with pytest.raises(ResetNeeded):
        env.step(action)
    env.reset(seed=0)
    env.step(action)


@pytest.mark.filterwarnings("ignore:Faulty")
def test_a_failed_episode_and_one_of_the_suite_need_a_reset_at_their_end(faulty):
    faulty.error = RuntimeError("x")
    names = ["Faulty", *(["dmc/point_mass-easy"] if importlib.util.find_spec("dm_control") else [])]
    for env in (env_entry(name).make() for name in names):
        env.reset(seed=1)
        while not any(env.step(np.zeros(2))[2:4]):
            pass
        with pytest.raises(ResetNeeded, match="call reset"):
            env.step(np.zeros(2))
        env.reset(seed=0)
        assert not any(env.step(np.zeros(2))[2:4])


def test_a_policy_whose_actions_are_no_numbers_is_one_line(faulty):
    broken = net()
    for parameter in broken.parameters():
        parameter.data.fill_(float("nan"))
    assert "env Faulty: the action in step 1 of an episode holds NaN" in refusal(rollout, broken, [ENTRY.make()], [0])


def test_a_simulator_that_fails_in_reset_is_one_line(faulty, monkeypatch):
    def fails(self, **kwargs):
        raise RuntimeError("no\nlicence")

    monkeypatch.setattr(faulty, "reset", fails)
    assert "env Faulty: the simulation failed in reset (RuntimeError: no licence)" in refusal(ENTRY.make().reset)
    monkeypatch.setattr(faulty, "reset", lambda self, **kwargs: (np.full(5, np.nan), {}))
    assert "the observation of reset holds NaN" in refusal(ENTRY.make().reset)


# --- spaces and rewards


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32])
def test_actions_that_are_whole_numbers_are_refused_before_anything(dtype, faulty, data, tmp_path):
    faulty.action_space = spaces.Box(0, 3, (2,), dtype)
    assert "its actions are whole numbers" in refusal(ENTRY.make)
    assert "its actions are whole numbers" in refusal(lambda: ENTRY.sizes)
    words = [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]
    assert "its actions are whole numbers" in refusal(train, compose("train", words))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("reward", [np.ones(1), np.array(1.0), np.ones((1, 1)), np.float32(1), 1, True, np.int8(1)])
def test_a_reward_is_one_number_however_it_is_written(reward, faulty):
    faulty.reward = reward
    assert type(one_number(reward, "x")) is float
    assert rollout(net(), [ENTRY.make()], [0]).tolist() == [STEPS]
    (episode,) = play(zeros, ENTRY, [0])
    assert episode.rewards.tolist() == [1.0] * STEPS
    envs = environments(ENTRY, 2)
    envs.reset()
    assert envs.step(np.zeros((2, 2), np.float32))[1].tolist() == [1, 1]
    ENTRY.check_step()


@pytest.mark.parametrize(("reward", "says"), [(np.ones(3), "of shape (3,)"), (None, "None"), ("1", "'1'")])
def test_another_reward_is_refused_before_anything(reward, says, faulty, data, tmp_path):
    faulty.reward = reward
    assert f"env Faulty: the reward of its step is {says}" in refusal(ENTRY.check_step).replace("an array ", "")
    words = [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]
    assert "the reward of its step" in refusal(train, compose("train", words)) and not (tmp_path / "run").exists()


# --- evaluations


@pytest.mark.filterwarnings("ignore:Faulty")
def test_an_evaluation_counts_failed_episodes(faulty):
    faulty.error = RuntimeError("x")
    metrics = evaluate(net(), ENTRY, 5, seed=0)
    assert (metrics["episodes"], metrics["failed_episodes"]) == (5, 2)
    assert metrics["return_mean"] == (3 * STEPS + 2 * 2) / 5
    assert result_row("last", metrics, ENTRY)["episodes"] == "5 (2 failed)"
    assert result_row("last", {**metrics, "failed_episodes": 0}, ENTRY)["episodes"] == 5


def test_most_episodes_must_live():
    check_few("x", 5, 10)
    assert "env x: the simulation failed in 6 of 10 episodes" in refusal(check_few, "x", 6, 10)


WORDS = ["env=Faulty", "init=scratch", "model=mlp", "size=32x1", "train_steps=4", "evaluate_every=2", "batch_size=4"]
WORDS += ["threads=1", "device=cpu", "episodes=4", "validation_episodes=2", "context=4"]


@pytest.fixture
def data(tmp_path):
    """Four episodes of constants in D4RL's layout."""
    rows, path = 4 * STEPS, tmp_path / "data.hdf5"
    arrays = {"observations": np.random.default_rng(0).normal(size=(rows, 5)), "actions": np.zeros((rows, 2))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    ends = np.arange(rows) % STEPS == STEPS - 1
    write_hdf5(path, arrays | {"rewards": np.ones(rows, np.float32), "terminals": ends & False, "timeouts": ends})
    return path


@pytest.mark.filterwarnings("ignore:Faulty")
def test_a_run_counts_them_and_one_that_fails_mostly_is_an_error(faulty, data, tmp_path, capsys):
    faulty.error = RuntimeError("x")
    words = [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]
    train(compose("train", words))
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert report["failed_episodes"] == report["best"]["failed_episodes"] == 2 and report["episodes"] == 4
    assert "4 (2 failed)" in capsys.readouterr().out
    assert read_card(tmp_path / "run" / "checkpoints" / "best.safetensors")["validation_failed_episodes"] == 1
    assert RunFolder.open(tmp_path / "run").metrics()["validation/failed_episodes"] == [(0, 1), (2, 1), (4, 1)]
    faulty.every = True
    ask = compose("evaluate", [f"run={tmp_path / 'run'}", "episodes=2"])
    assert "env Faulty: the simulation failed in 2 of 2 episodes" in refusal(evaluate_command, ask)


@pytest.mark.filterwarnings("ignore:Faulty")
def test_a_run_that_fails_at_its_end_keeps_its_network_and_goes_on(faulty, data, tmp_path):
    folder, words = tmp_path / "run", [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]
    faulty.error, faulty.every = RuntimeError("x"), True
    assert "failed in 2 of 2 episodes" in refusal(train, compose("train", words))  # before it trains for nothing
    assert "resume=" in refusal(train, compose("train", [*words[:-1], f"run_dir={folder}-2", "validation_episodes=0"]))
    assert not (tmp_path / "run-2" / "evaluation.json").exists()
    assert (tmp_path / "run-2" / "checkpoints" / "last.safetensors").exists()
    faulty.every = False
    report = train(compose("train", [f"resume={folder}-2"]))
    assert report["failed_episodes"] == 2


def test_a_first_step_that_fails_is_an_error_before_anything(faulty, data, tmp_path):
    faulty.error, faulty.every, faulty.at = RuntimeError("x"), True, 1
    says = "env Faulty: the episode of seed 0 failed in its first step (RuntimeError: x)"
    assert says in refusal(train, compose("train", [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]))
    assert not (tmp_path / "run").exists()
    assert says in refusal(rollout, net(), [ENTRY.make()], [0]) and says in refusal(play, zeros, ENTRY, [0])


def test_failed_episodes_never_make_a_checkpoint_the_best(task, tmp_path, monkeypatch):
    run = RunFolder.create(tmp_path / "run", "train", compose("train"), 0)
    scores, found = Scores(run, task, compose("train", ["validation_episodes=4"])), {}
    monkeypatch.setattr(task, "evaluate", lambda *_: found)
    monkeypatch.setattr(task, "validation_loss", lambda *_: 0.0)
    best = []
    for step, (value, failed_episodes) in enumerate([(50, 2), (40, 1), (-6, 0), (-1, 1), (-5, 0), (99, 4), (-7, 0)]):
        found = {"return_mean": value, "score": None, "episodes": 4, "failed_episodes": failed_episodes}
        scores.validate(small_net("mlp"), {}, step)
        best.append(read_card(scores.best)["validation_return_mean"])
    assert best == [50, 40, -6, -6, -5, -5, -5]


def test_a_comparison_shows_them():
    rows = [
        {"method": "weit", "size": "32x1", "seed": s, "budget": 0, "failed_episodes": n}
        for s, n in [(0, 2.0), (1, ""), (2, 0)]
    ]
    assert failed(rows).rows == [["weit", "32x1", "0", "0", "2"]]


def test_a_table_of_cells_that_does_not_count_them_is_gone_on_with(tmp_path):
    words = ["env=Reacher", "methods=[weit]", "sizes=[32x1]", "seeds=[0]", "budgets=[0]"]
    grid = Grid.of(compose("benchmark", words))
    fields = fields_of(grid.kind)
    row = dict.fromkeys(fields, "1") | {"method": "weit", "size": "32x1", "source": "", "note": ""}
    old = [name for name in fields if name != "failed_episodes"]
    (tmp_path / "results.csv").write_text("\n".join([",".join(old), ",".join(row[name] for name in old)]) + "\n")
    (tmp_path / "grid.json").write_text(json.dumps(asdict(grid)))
    results = Results(tmp_path, grid)
    results.begin().release()
    results.add(row | {"seed": 2, "failed_episodes": 3})
    results.write_json({})
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["failed_episodes"] for row in rows] == ["", 3] and [row["return_mean"] for row in rows] == [1, 1]
    assert [row["failed_episodes"] for row in Results(tmp_path, grid).rows] == ["", 3]


def test_old_tables_of_rates_are_read(tmp_path):
    (tmp_path / "rates.csv").write_text("method,size,rate,value,note\nweit,64x5,0.1,,\nweit,64x5,0.3,1.5,\n")
    assert [row["value"] for row in read_rates(tmp_path)] == ["", "1.5"]


# --- learning online, and recording


@pytest.mark.filterwarnings("ignore:Faulty")
def test_a_training_that_mostly_fails_stops(faulty):
    faulty.error, faulty.every = RuntimeError("x"), True
    agent = PPO("MlpPolicy", environments(ENTRY, 2), n_steps=40, batch_size=80, device="cpu")
    watch = CrashWatch("Faulty")
    with pytest.raises(UserError, match=f"env Faulty: the simulation failed in {FEW} of {FEW} episodes"):
        agent.learn(400, callback=watch)
    assert (watch.episodes, watch.failed) == (FEW, FEW)
    faulty.every = faulty.error = None
    watch = CrashWatch("Faulty")
    PPO("MlpPolicy", environments(ENTRY, 2), n_steps=40, batch_size=80, device="cpu").learn(80, callback=watch)
    assert watch.episodes > FEW and watch.failed == 0


@pytest.mark.filterwarnings("ignore:Faulty")
def test_a_snapshot_with_failed_episodes_is_no_level(faulty, tmp_path):
    recorder = LevelRecorder.__new__(LevelRecorder)
    recorder.acting, recorder.selection_seeds = ENTRY, range(4)
    assert recorder._selection_return(zeros) == (STEPS, f"selection return {STEPS}")
    faulty.error = RuntimeError("x")
    assert recorder._selection_return(zeros) == (None, "2 of 4 selection episodes failed, so it is not chosen")


@pytest.mark.skipif(importlib.util.find_spec("pygame") is not None, reason="pygame is installed and draws")
def test_a_film_of_what_mujoco_does_not_simulate_names_what_it_needs():
    says = refusal(choose_renderer, env_entry("gym:Pendulum-v1"))
    assert "pygame is not installed, run `pip install" in says and "MUJOCO_GL" not in says
