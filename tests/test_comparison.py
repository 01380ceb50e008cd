"""The comparison: its cells, sources and rates, and a small one from end to end."""

import json
from dataclasses import asdict

import pytest
from conftest import contents

from weit_rl.benchmark import main as benchmark
from weit_rl.common.errors import Interrupted, UserError
from weit_rl.comparison import rates, runs
from weit_rl.comparison.cell import cell_options, fields_of
from weit_rl.comparison.grid import PROFILES, Cell, Grid
from weit_rl.comparison.launchers import JobSettings
from weit_rl.comparison.launchers.local import run_in_processes
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.results import read
from weit_rl.comparison.sources import Sources, sampled
from weit_rl.initializers import INITIALIZERS
from weit_rl.options.command import compose
from weit_rl.tasks import task_entry
from weit_rl.workflows.pretrain_run import PretrainRun

CONTROL = task_entry("control")

SMALL = ["methods=[weit, scratch, bot, tleg]", "sizes=[32x1]", "budgets=[0, 3]", "seeds=[0]", "episodes=1",
         "batch_size=4", "pretrain_steps=4", "workers=1"]  # fmt: skip
SMALL_BANK = "bank_options={size: 64x2, widths: [64], depths: [1, 2]}"


def grid(*words):
    return Grid.of(compose("benchmark", list(words)))


def test_every_initialiser_is_compared():
    assert set(INITIALIZERS.names()) < set(METHODS.names())
    for name in METHODS.names():
        method = METHODS.get(name)
        assert method.starts_from_networks + (method.constraint is not None) == method.initializer.needs_source


def test_a_budget_holds_the_methods_own_stage_or_there_is_no_cell():
    stages = {name: METHODS.get(name).stage(200) for name in ("weit", "ligo", "pruning", "bot", "direct")}
    assert stages == {"weit": 200, "ligo": 100, "pruning": None, "bot": 0, "direct": None}
    chosen = grid("methods=[pruning, direct]", "sizes=[tiny]", "seeds=[1, 2]")
    assert list(chosen.cells(2)) == [Cell("pruning", "64x2", 2, budget) for budget in (300, 1000)]
    assert list(chosen.cells(1))[2:] == [Cell("direct", "64x2", 1, 10_000)]  # the ceiling, once


def test_profiles_report_only_what_was_neither_sampled_nor_tuned_on():
    words = compose("pretrain")
    seen = {
        *(size for sizes in rates.ROUNDS for size in sizes),
        *(f"{width}x{depth}" for width in words.widths for depth in words.depths),
        words.size,
    }
    assert not any(seen & set(profile["sizes"]) for profile in PROFILES.values())


@pytest.mark.parametrize(
    ("word", "says"),
    [("methods=[wiet]", "did you mean weit"), ("sizes=[33x2]", "multiple of head_dim"), ("budgets=[]", "at least one"),
     ("budgets=[0, 0]", "each once"), ("budgets=[-1]", "0 or more"), ("seeds=[a]", "list of integers"),
     ("seeds=[0, 2147483648]", "must be from 0 to 2147483647"), ("sizes=[tiny, 64x2]", "each once"),
     ("model=tnc", "did you mean tcn"),
     ("profile=cor", "did you mean core"), ("mode=tun", "did you mean tune"), ("report=pdf", "unknown report"),
     ("data=expart", "neither a file"), ("workers=0", "1 or more"), ("episodes=0", "from 1"),
     ("bank_options={width: [64]}", "did you mean widths"), ("bank_options={widths: [256]}", "is larger than the full"),
     ("mode=report", "nothing to report")],
)  # fmt: skip
def test_bad_options_are_refused(refused, word, says):
    assert says in refused("benchmark", word)


def test_a_method_is_for_its_task_and_svd_bank_gets_as_many_templates_as_weit(tmp_path):
    with pytest.raises(UserError, match="methods: bc is for task=control"):
        grid("task=classification", "data=digits", "model=vit", "methods=[bc]")
    for name, has in (("svd_bank", True), ("bot", False)):
        options = cell_options(Cell(name, "32x1", 0, 0), Sources(grid(), tmp_path, 1, {"rank": 48}), None)
        assert (options.init_options == {"rank": 48}) is has


def test_an_environment_that_imports_a_module_is_trusted_again(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setitem(runs.VERBS, "train", (seen.append, "evaluation.json"))
    (tmp_path / "config.yaml").touch()
    runs.finish_run("train", tmp_path, compose("train", ["env=gym:mine:My-v0", "size=32x1"]))
    assert seen == [compose("train", ["env=gym:mine:My-v0", f"resume={tmp_path}"])]


def test_a_small_comparison(tiny_data, tmp_path, capsys):
    words = [*SMALL, SMALL_BANK, f"data={tiny_data}", f"run_dir={tmp_path / 'b'}"]
    report = benchmark(compose("benchmark", words))
    rows = read(tmp_path / "b" / "results.csv", CONTROL)
    assert report["cells"] == len(rows) == 8
    done = {(r["method"], r["budget"]): r for r in rows}
    assert done["tleg", 3]["return_mean"] == "" and "not defined" in done["tleg", 3]["note"]
    assert {done[m, 3]["source"] for m in ("weit", "scratch", "bot")} == {"kronecker", "", done["bot", 3]["source"]}
    assert done["weit", 3]["steps"] == 3 and done["weit", 3]["flops"] > done["scratch", 3]["flops"] > 0
    assert done["weit", 0]["flops"] > 0 == done["scratch", 0]["flops"]  # it looks for the best start
    assert not list((tmp_path / "b" / "cells").iterdir())
    text = (tmp_path / "b" / "README.md").read_text()
    assert "weit minus the other method" in text and "![curves](curves.png)" in text

    before = (tmp_path / "b" / "results.csv").read_bytes()
    kept = "".join(
        line for line in before.decode().splitlines(True) if not line.startswith("weit,HalfCheetah,32x1,32,1,0,3")
    )
    (tmp_path / "b" / "results.csv").write_text(kept)
    benchmark(compose("benchmark", [*words, "report=html"]))  # what is missing is made again, and nothing else
    again = {(r["method"], r["budget"]): {**r, "seconds": 0} for r in read(tmp_path / "b" / "results.csv", CONTROL)}
    assert again == {key: {**r, "seconds": 0} for key, r in done.items()}
    page = (tmp_path / "b" / "report.html").read_text()  # without shares of the data's return, which is below zero
    assert page.count("data:image/png;base64,") == 3 and "http" not in page
    with pytest.raises(UserError, match="made with another batch_size"):
        benchmark(compose("benchmark", [*words, "batch_size=5"]))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        benchmark(compose("benchmark", [f"run_dir={tmp_path}"]))
    assert [path.name for path in contents(tmp_path)] == ["notes.txt"]


def test_sources_cost_what_a_bank_costs(tiny_data, tmp_path):
    own = "bank_options={size: 64x4, widths: [32, 64], depths: [1, 4]}"
    chosen = grid(*SMALL, f"data={tiny_data}", "pretrain_steps=40", own)
    sources = Sources(chosen, tmp_path, 1)
    assert sources.needed() == ["kronecker", "largest", "smallest"]
    steps = {kind: sources.network_options(kind, 0).train_steps for kind in ("largest", "smallest")}
    assert 20 < steps["largest"] < 80 and steps["smallest"] > 5 * steps["largest"]
    assert sources.bank_options("kronecker", 0).steps == 40
    dense = PretrainRun(sources.bank_options("identity", 0))  # nothing to compose: more steps
    assert dense.cfg.steps > 40 and dense.flops() == pytest.approx(sources.flops(0), rel=0.03)
    words = compose("pretrain")
    assert (str(sampled(words, "largest")), str(sampled(words, "smallest"))) == ("128x6", "64x2")
    assert grid().pretrain_steps == words.steps  # so that the bank that ships can serve


def test_options_of_banks_are_those_of_every_bank_and_give_networks_their_sizes(tiny_data, tmp_path):
    own = "bank_options={size: 64x3, widths: [32, 64], depths: [1, 3], lr: 0.01}"
    chosen = grid(*SMALL, f"data={tiny_data}", "pretrain_steps=8", own)
    assert json.loads(json.dumps(asdict(chosen)))["bank_options"]["widths"] == [32, 64]
    sources = Sources(chosen, tmp_path, 1)
    for kind in ("kronecker", "identity"):
        cfg = sources.bank_options(kind, 0)
        assert (cfg.size, list(cfg.widths), list(cfg.depths), cfg.lr) == ("64x3", [32, 64], [1, 3], 0.01)
    networks = [sources.network_options(kind, 0).size.name for kind in ("largest", "smallest")]
    assert networks == ["64x3", "32x1"]
    assert tmp_path in Sources(grid("bank_options={lr: 0.01}"), tmp_path, 1).path("kronecker", 0).parents


def test_the_bank_that_ships_is_not_made_again(tmp_path):
    place = Sources(grid(), tmp_path, 1).path("kronecker", 0)
    assert place.is_file() and tmp_path not in place.parents
    assert tmp_path in Sources(grid(), tmp_path, 1).path("kronecker", 1).parents
    assert tmp_path in Sources(grid("batch_size=16"), tmp_path, 1).path("kronecker", 0).parents


def test_rates_are_chosen_by_the_best_trial(tmp_path):
    found = [("bot", "64x5", 1e-3, 5.0), ("bot", "64x5", 3e-3, 9.0), ("bot", "64x5", 1e-2, 8.0)]
    found += [("ligo", "64x5", 1e-3, ""), ("sws", "64x5", 1e-2, 1.0), ("sws", "128x5", 1e-2, "")]
    rows = [{"method": m, "size": s, "rate": rate, "value": value, "note": ""} for m, s, rate, value in found]
    assert rates.rates_of("bot", rows, rates.ROUNDS[0]) == rates.GRID
    assert rates.rates_of("bot", rows, rates.ROUNDS[1]) == [3e-3, 1e-2, 1e-3]
    assert rates.best_rates(rows) == {"bot": 3e-3, "sws": 1e-2}
    second = {"method": "bot", "size": "192x3", "note": ""}
    rows += [{**second, "rate": 3e-3, "value": 1.0}, {**second, "rate": 1e-2, "value": 3.0}]
    rates.write_rates(tmp_path, rows)
    kept = rates.read_rates(tmp_path)
    assert rates.best_rates(kept) == {"bot": 1e-2, "sws": 1e-2} and rates.best_rates([]) == {}
    lines = rates.rates_table(kept, CONTROL.measure).rows
    assert ["bot", "64x5", "", "5", "9", "8", "", "0.01"] in lines
    assert ["bot", "192x3", "", "", "1", "3", "", "0.01"] in lines and ["ligo", "64x5", *[""] * 6] in lines


def double(x):
    print(f"doubling {x}")
    if x == 13:
        raise UserError("thirteen")
    return 2 * x


@pytest.mark.slow
def test_jobs_in_processes_keep_what_they_print_and_stop_at_an_error(tmp_path):
    jobs = {str(x): (double, (x,)) for x in (1, 2)}
    assert dict(run_in_processes(jobs, JobSettings(2, 1, tmp_path))) == {"1": 2, "2": 4}
    assert (tmp_path / "2.txt").read_text() == "doubling 2\n"
    with pytest.raises(UserError, match="13: thirteen"):
        list(run_in_processes({"13": (double, (13,))}, JobSettings(2, 1, tmp_path)))


def stop(x):
    raise Interrupted("a signal came")


@pytest.mark.slow
def test_a_stop_ends_the_processes_and_says_how_to_go_on(tiny_data, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="a process was killed"):  # it must not take the next job
        list(run_in_processes(dict.fromkeys("abc", (stop, (1,))), JobSettings(2, 1, tmp_path)))

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("weit_rl.comparison.benchmark_run.launcher_of", lambda cfg: interrupted)
    with pytest.raises(Interrupted, match="goes on with what is left") as error:
        benchmark(compose("benchmark", [*SMALL, f"data={tiny_data}", f"run_dir={tmp_path / 'b'}"]))
    assert error.value.exit_code == 130


def test_tuning_keeps_its_trials_and_gives_the_cells_their_rates(tiny_data, tmp_path, monkeypatch):
    for name, value in {
        "STEPS": 2,
        "EPISODES": 1,
        "GRID": (1e-3, 1e-2),
        "ROUNDS": (("32x3",), ("64x1",)),
        "KEPT": 1,
    }.items():
        monkeypatch.setattr(rates, name, value)
    used, cell = [], dict.fromkeys(fields_of(CONTROL), 0) | {"method": "scratch", "size": "32x1"}
    cell |= {"return_mean": "", "note": "-"}
    monkeypatch.setattr("weit_rl.comparison.benchmark_run.run_cell", lambda *a: used.append(a[3]) or cell)
    folder = tmp_path / "t"
    words = [*SMALL, "methods=[scratch, direct]", "budgets=[0]", f"data={tiny_data}", f"run_dir={folder}"]
    benchmark(compose("benchmark", [*words, "mode=tune"]))
    found = rates.read_rates(folder)
    first, second = ([r for r in found if r["size"] == size] for size in ("32x3", "64x1"))
    best = max(first, key=lambda r: float(r["value"]))["rate"]
    assert {r["rate"] for r in first} == {1e-3, 1e-2} and [r["rate"] for r in second] == [best]
    assert "## Learning rates" in (folder / "README.md").read_text()
    before = (folder / "rates.csv").read_bytes()
    benchmark(compose("benchmark", [*words, "mode=tune"]))  # nothing is left to do
    assert (folder / "rates.csv").read_bytes() == before
    benchmark(compose("benchmark", [*words, "methods=[scratch]"]))
    assert used == [best]
    (folder / "rates.csv").unlink()
    with pytest.raises(UserError, match="mode=tune: scratch were run without it in"):
        benchmark(compose("benchmark", [*words, "mode=tune"]))
