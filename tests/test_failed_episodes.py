"""Failed episodes are counted in every report, and never chosen."""

# ruff: noqa: F811  (fixtures are imported, and are also names of arguments)

import json
from dataclasses import asdict

import pytest
from conftest import small_net
from faulty_env import ENTRY, STEPS, WORDS, data, faulty, net, zeros  # noqa: F401
from shared_envs import refusal
from stable_baselines3 import PPO

from weit_rl.agents.crash_watch import FEW, CrashWatch
from weit_rl.agents.evaluation import evaluate
from weit_rl.agents.levels import selection_return
from weit_rl.agents.online import environments
from weit_rl.common.errors import UserError
from weit_rl.comparison.cell import fields_of
from weit_rl.comparison.grid import Grid
from weit_rl.comparison.rates import read_rates
from weit_rl.comparison.results import Results
from weit_rl.comparison.tables import failed
from weit_rl.envs.crashes import check_failure_rate
from weit_rl.evaluate import main as evaluate_command
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_card
from weit_rl.tasks.control import result_row
from weit_rl.train import main as train
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.run_scores import Scores

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
    check_failure_rate("x", 5, 10)
    assert "env x: the simulation failed in 6 of 10 episodes" in refusal(check_failure_rate, "x", 6, 10)


@pytest.mark.filterwarnings("ignore:Faulty")
def test_a_run_counts_failed_episodes_and_too_many_are_an_error(faulty, data, tmp_path, capsys):
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
def test_a_run_that_fails_at_its_end_keeps_its_network_and_resumes(faulty, data, tmp_path):
    folder, words = tmp_path / "run", [*WORDS, f"data={data}", f"run_dir={tmp_path / 'run'}"]
    faulty.error, faulty.every = RuntimeError("x"), True
    assert "failed in 2 of 2 episodes" in refusal(train, compose("train", words))  # before it trains for nothing
    assert "resume=" in refusal(train, compose("train", [*words[:-1], f"run_dir={folder}-2", "validation_episodes=0"]))
    assert not (tmp_path / "run-2" / "evaluation.json").exists()
    assert (tmp_path / "run-2" / "checkpoints" / "last.safetensors").exists()
    faulty.every = False
    report = train(compose("train", [f"resume={folder}-2"]))
    assert report["failed_episodes"] == 2


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


def test_a_comparison_shows_failed_episodes():
    rows = [
        {"method": "weit", "size": "32x1", "seed": s, "budget": 0, "failed_episodes": n}
        for s, n in [(0, 2.0), (1, ""), (2, 0)]
    ]
    assert failed(rows).rows == [["weit", "32x1", "0", "0", "2"]]


def test_a_table_without_counts_of_failures_is_continued(tmp_path):
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
def test_a_snapshot_with_failed_episodes_is_not_chosen(faulty):
    assert selection_return(zeros, ENTRY, range(4)) == (STEPS, f"selection return {STEPS}")
    faulty.error = RuntimeError("x")
    why = "2 of 4 selection episodes failed, so it is not chosen"
    assert selection_return(zeros, ENTRY, range(4)) == (None, why)
