"""The comparison: its cells, statistics and tables by known numbers, and a small one of its own from end to end."""

import math

import numpy as np
import pytest
from conftest import contents

from weit_rl.benchmark import main as benchmark
from weit_rl.command import compose
from weit_rl.comparison import pool, rates
from weit_rl.comparison.cell import FIELDS
from weit_rl.comparison.figures import all_figures
from weit_rl.comparison.grid import PROFILES, Cell, Grid
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.results import read
from weit_rl.comparison.sources import Sources, sampled
from weit_rl.comparison.statistics import difference, interquartile_mean, mean, mean_steps_to, profile, steps_to
from weit_rl.comparison.tables import all_tables
from weit_rl.errors import Interrupted, UserError
from weit_rl.initializers import INITIALIZERS

SMALL = ["methods=[weit, scratch, bot, tleg]", "sizes=[32x1]", "budgets=[0, 3]", "seeds=[0]", "episodes=1",
         "batch_size=4", "pretrain_steps=4", "workers=1"]  # fmt: skip


def grid(*words):
    return Grid.of(compose("benchmark", list(words)))


def row(method, size, seed, budget, value, flops=1e9):
    width, depth = map(int, size.split("x"))
    filled = dict.fromkeys(FIELDS, "") | {"method": method, "size": size, "width": width, "depth": depth}
    return filled | {"seed": seed, "budget": budget, "return_mean": value, "flops": flops, "seconds": 1.0}


def made_up():
    """Ours is 10 ahead of scratch in every pair at 100 steps, and equal on average at 0; bot exists at one size."""
    rows = []
    for size, base in (("32x3", 100.0), ("96x4", 300.0)):
        for seed in range(3):
            at_0 = {"weit": base, "scratch": base + 5 * (seed - 1)}
            at_100 = {"weit": base + 50 + seed, "scratch": base + 40 + seed}
            for budget, values in ((0, at_0), (100, at_100)):
                rows += [row(method, size, seed, budget, value) for method, value in values.items()]
    return [*rows, row("bot", "96x4", 0, 100, 500.0), row("tleg", "32x3", 0, 100, "") | {"note": "not defined"}]


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
    seen = {*rates.SIZES, *(f"{width}x{depth}" for width in words.widths for depth in words.depths), words.size}
    assert not any(seen & set(profile["sizes"]) for profile in PROFILES.values())


@pytest.mark.parametrize(
    ("word", "says"),
    [("methods=[wiet]", "did you mean weit"), ("sizes=[33x2]", "multiple of head_dim"), ("budgets=[]", "at least one"),
     ("budgets=[0, 0]", "each once"), ("budgets=[-1]", "0 or more"), ("seeds=[a]", "list of integers"),
     ("profile=cor", "did you mean core"), ("mode=tun", "did you mean tune"), ("report=pdf", "unknown report"),
     ("data=expart", "neither a file"), ("workers=0", "1 or more"), ("episodes=0", "from 1"),
     ("mode=report", "nothing to report")],
)  # fmt: skip
def test_bad_options_are_refused(refused, word, says):
    assert says in refused("benchmark", word)


def test_estimates_and_their_intervals():
    assert mean([[1.0, 3.0], [5.0, 7.0]]).value == 4 and interquartile_mean([[0.0, 1, 2, 1000]]).value == 1.5
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):  # the interval of a mean of 20 holds the true one about 95 times of 100
        low, high = mean([rng.normal(size=20).tolist()])[1:]
        hits += low < 0 < high
    assert 50 <= hits <= 60
    assert mean([[2.0], [4.0]]) == (3, 3, 3)  # what cannot be resampled does not vary
    assert profile([1.0, 2.0, 3.0, 4.0], [0, 2, 5]) == [1, 0.75, 0]


def test_paired_differences():
    rows = made_up()
    estimate, pairs = difference(rows, "weit", "scratch", 100)
    assert (estimate.value, pairs) == (10, 6) and estimate.low == estimate.high == 10
    estimate, _ = difference(rows, "weit", "scratch", 0)
    assert estimate.value == 0 and estimate.low < 0 < estimate.high
    assert difference(rows, "weit", "bot", 100)[1] == 1 and difference(rows, "weit", "bot", 0) is None


def test_steps_to_a_return():
    curve = [(0, 0.0), (99, 100.0), (999, 50.0)]
    assert steps_to(curve, -5) == 0 and steps_to(curve, 100) == pytest.approx(99) and math.isinf(steps_to(curve, 101))
    assert steps_to(curve, 50) == pytest.approx(9)  # half way on the logarithm
    rows = made_up()
    assert mean_steps_to(rows, "weit", "32x3", 151).value == pytest.approx(100)
    assert mean_steps_to(rows, "weit", "32x3", 151).high == math.inf  # a seed alone stays below
    assert math.isnan(mean_steps_to(rows, "sws", "32x3", 1).value)


def test_tables_and_pictures():
    rows = made_up()
    tables = {table.title: table for table in all_tables(rows, behaviour=150)}
    text = tables["weit less the other"].markdown()
    assert "| scratch | tie: 0 (-3 to 3), 6 | ahead: 10 (10 to 10), 6 |" in text and "| bot |  | behind" in text
    best = tables["Return after 100 steps"].rows
    assert [line[0] for line in best] == ["weit", "scratch", "bot"] and best[2][1:] == ["n/a", "500", ""]
    assert tables["Not applicable"].rows == [["tleg", "32x3", "not defined"]]
    assert "<td>n/a</td>" in tables["Return after 100 steps"].html()
    pictures = all_figures(rows, 150, 1e12)
    assert all(png.startswith(b"\x89PNG") for png in pictures.values()) and len(set(pictures.values())) == 4


def test_a_small_comparison(tiny_data, tmp_path, capsys):
    words = [*SMALL, f"data={tiny_data}", f"run_dir={tmp_path / 'b'}"]
    report = benchmark(compose("benchmark", words))
    rows = read(tmp_path / "b" / "results.csv")
    assert report["cells"] == len(rows) == 8
    done = {(r["method"], r["budget"]): r for r in rows}
    assert done["tleg", 3]["return_mean"] == "" and "not defined" in done["tleg", 3]["note"]
    assert {done[m, 3]["source"] for m in ("weit", "scratch", "bot")} == {"kronecker", "", done["bot", 3]["source"]}
    assert done["weit", 3]["steps"] == 3 and done["weit", 3]["flops"] > done["scratch", 3]["flops"] > 0
    assert done["weit", 0]["flops"] == 0 and not list((tmp_path / "b" / "cells").iterdir())
    text = (tmp_path / "b" / "README.md").read_text()
    assert "weit less the other" in text and "![curves](curves.png)" in text

    before = (tmp_path / "b" / "results.csv").read_bytes()
    kept = "".join(
        line for line in before.decode().splitlines(True) if not line.startswith("weit,HalfCheetah,32x1,32,1,0,3")
    )
    (tmp_path / "b" / "results.csv").write_text(kept)
    benchmark(compose("benchmark", [*words, "report=html"]))  # what is missing is made again, and nothing else
    again = {(r["method"], r["budget"]): {**r, "seconds": 0} for r in read(tmp_path / "b" / "results.csv")}
    assert again == {key: {**r, "seconds": 0} for key, r in done.items()}
    page = (tmp_path / "b" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page
    with pytest.raises(UserError, match="made with another batch_size"):
        benchmark(compose("benchmark", [*words, "batch_size=5"]))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        benchmark(compose("benchmark", [f"run_dir={tmp_path}"]))
    assert [path.name for path in contents(tmp_path)] == ["notes.txt"]


def test_sources_cost_what_a_bank_costs(tiny_data, tmp_path):
    chosen = grid(*SMALL, f"data={tiny_data}", "pretrain_steps=40")
    sources = Sources(chosen, tmp_path, 1)
    assert sources.needed() == ["kronecker", "largest", "smallest"]
    steps = {kind: int(dict(w.split("=", 1) for w in sources.network_words(kind, 0))["train_steps"])
             for kind in ("largest", "smallest")}  # fmt: skip
    assert 20 < steps["largest"] < 80 and steps["smallest"] > 5 * steps["largest"]
    words = compose("pretrain")
    assert (str(sampled(words, "largest")), str(sampled(words, "smallest"))) == ("128x6", "64x2")
    assert grid().pretrain_steps == words.steps  # so that the bank that ships can serve


def test_the_bank_that_ships_is_not_made_again(tmp_path):
    place = Sources(grid(), tmp_path, 1).path("kronecker", 0)
    assert place.is_file() and tmp_path not in place.parents
    assert tmp_path in Sources(grid(), tmp_path, 1).path("kronecker", 1).parents
    assert tmp_path in Sources(grid("batch_size=16"), tmp_path, 1).path("kronecker", 0).parents


def test_rates_are_chosen_by_the_best_trial(tmp_path):
    found = [("bot", 1e-3, 5.0, ""), ("bot", 3e-3, 9.0, ""), ("ligo", 1e-3, "", "not defined")]
    rows = [
        {"method": m, "size": "64x5", "rate": rate, "return_mean": value, "note": note}
        for m, rate, value, note in found
    ]
    rates.write_rates(tmp_path, rows)
    kept = rates.read_rates(tmp_path)
    assert rates.best_rates(kept) == {"bot": 3e-3} and rates.best_rates([]) == {}
    assert ["bot", "64x5", "", "5", "9", ""] in rates.rates_table(kept).rows


def double(x):
    print(f"doubling {x}")
    if x == 13:
        raise UserError("thirteen")
    return 2 * x


def test_jobs_in_processes_keep_what_they_print_and_stop_at_an_error(tmp_path):
    jobs = {str(x): (double, (x,)) for x in (1, 2)}
    assert dict(pool.in_parallel(jobs, 2, tmp_path)) == {"1": 2, "2": 4}
    assert (tmp_path / "2.txt").read_text() == "doubling 2\n"
    with pytest.raises(UserError, match="13: thirteen"):
        list(pool.in_parallel({"13": (double, (13,))}, 2, tmp_path))


def stop(x):
    raise Interrupted("a signal came")


def test_a_stop_ends_the_processes_and_says_how_to_go_on(tiny_data, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="a process was killed"):  # it must not take the next job
        list(pool.in_parallel(dict.fromkeys("abc", (stop, (1,))), 2, tmp_path))

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("weit_rl.workflows.benchmark.in_parallel", interrupted)
    with pytest.raises(Interrupted, match="goes on with what is left") as error:
        benchmark(compose("benchmark", [*SMALL, f"data={tiny_data}", f"run_dir={tmp_path / 'b'}"]))
    assert error.value.exit_code == 130
