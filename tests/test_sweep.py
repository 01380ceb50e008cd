"""Optuna's search for rank and masks: exact to go on with, on tuning sizes and validation episodes only."""

import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from weit_rl.benchmark import main as benchmark
from weit_rl.common.errors import UserError
from weit_rl.comparison import rates, sweep
from weit_rl.comparison.grid import Grid
from weit_rl.comparison.sources import Sources
from weit_rl.initializers import INITIALIZERS
from weit_rl.options.command import compose
from weit_rl.options.option_table import options

pytest.importorskip("optuna", reason="needs the extra optuna: pip install 'weit_rl[optuna]'")


def searched(*words):
    return sweep.SearchSpace.of(compose("benchmark", [f"sweep.{word}" for word in words]))


def study(folder, space):
    folder.mkdir(exist_ok=True)
    return sweep.Sweep(folder, space, Sources(Grid.of(compose("benchmark")), folder / "sources", 1))


def valued(made, fail_after=None):
    """Return values that are best at rank 40 and full masks; stop like a killed process after some jobs."""

    def work(jobs, label):
        for name, (_, (key, *_)) in reversed(jobs.items()):  # in any order
            if len(made) == fail_after:
                raise KeyboardInterrupt
            made.append(name)
            params = dict(key)
            yield name, (params["masks"] == "full") * 10 - abs(params["rank"] - 40) / 10

    return work


@pytest.mark.parametrize("sampler", sweep.SAMPLERS)
def test_a_resumed_sweep_draws_the_same_trials(tmp_path, sampler):
    space = searched(f"sampler={sampler}", "together=3", "rank=[8, 64]")
    whole = study(tmp_path / "whole", space)
    whole(9, valued(made := []))
    assert len(made) == len(set(made)) == len({sweep.key_of(trial) for trial in whole.finished()})

    for stop in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "stopped", space)(9, valued([], fail_after=stop))
    again = study(tmp_path / "stopped", space)
    again.trial(len(again.finished()))  # asked, and killed before it was worked on
    study(tmp_path / "stopped", space)(9, valued([]))
    tables = [(tmp_path / name / "sweep.csv").read_text() for name in ("whole", "stopped")]
    assert tables[0] == tables[1] and tables[0].count("\n") == 10

    other = study(tmp_path / "other", searched(f"sampler={sampler}", "together=3", "rank=[8, 64]", "seed=1"))
    other(9, valued([]))
    assert (tmp_path / "other" / "sweep.csv").read_text() != tables[0]


def test_it_finds_the_best_values(tmp_path):
    space = searched("together=2", "rank=[4, 128]")
    study(tmp_path, space)(30, valued([]))
    best = max(sweep.read_sweep(tmp_path), key=lambda row: row["value"])
    assert best["masks"] == "full" and abs(int(best["rank"]) - 40) <= 6


def test_a_sweep_uses_no_reported_size():
    frozen = yaml.safe_load((Path(__file__).parents[1] / "benchmarks" / "_shared" / "frozen.yaml").read_text())
    assert list(sweep.SIZES) == frozen["tuning"]
    assert set(options("benchmark")) & set(options("vision_benchmark")) >= {
        f"sweep.{name}" for name in sweep.SearchSpace.__dataclass_fields__
    }


def test_another_search_or_a_damaged_study_is_refused(tmp_path):
    study(tmp_path, searched())
    with pytest.raises(UserError, match=r"other options sweep\.\*; choose another run_dir"):
        study(tmp_path, searched("rank=[8, 9]"))
    (tmp_path / "sweep.db").write_bytes(b"no data base" * 1000)
    with pytest.raises(UserError, match=r"sweep\.db: was damaged"):
        study(tmp_path, searched())
    with pytest.raises(sqlite3.DatabaseError):  # and it is as it was
        sqlite3.connect(tmp_path / "sweep.db").execute("select * from trials")


@pytest.mark.parametrize(
    ("word", "says"),
    [("rank=[8]", "the least and the most"), ("rank=[9, 8]", "the least and the most"), ("masks=[drown]", "drawn"),
     ("masks=[]", "at least one"), ("sampler=tep", "did you mean tpe"), ("trials=0", "1 or more"),
     ("together=0", "1 or more")],
)  # fmt: skip
def test_bad_sweeps_are_refused(refused, word, says):
    assert says in refused("benchmark", "mode=sweep", f"sweep.{word}")


def test_without_optuna_it_is_one_line(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'weit_rl[optuna]'" in refused("benchmark", "mode=sweep")


def test_a_small_sweep(tiny_data, tmp_path, monkeypatch):
    for name in ("rates", "sweep"):
        monkeypatch.setattr(f"weit_rl.comparison.{name}.EPISODES", 1)
    monkeypatch.setattr(rates, "STEPS", 2)
    monkeypatch.setitem(INITIALIZERS.members, "weit", replace(INITIALIZERS.get("weit"), stage_steps=2))
    monkeypatch.setattr(sweep, "SIZES", ("32x1",))
    words = ["mode=sweep", "sweep.trials=2", "sweep.together=2", "sweep.rank=[2, 8]", "pretrain_steps=3", "model=mlp"]
    words += ["batch_size=4", "workers=1", "methods=[weit]", f"data={tiny_data}", f"run_dir={tmp_path}"]
    benchmark(compose("benchmark", words))
    rows = sweep.read_sweep(tmp_path)
    assert [row["trial"] for row in rows] == ["0", "1"] and rows[0]["value"] != rows[1]["value"]
    assert "## Rank and masks of the bank" in (tmp_path / "README.md").read_text()
    assert not list((tmp_path / "trials").iterdir())
