"""Statistics, tables and pictures of a comparison, by known numbers."""

import math

import numpy as np
import pytest

from weit_rl.common.errors import UserError
from weit_rl.comparison.cell import fields_of
from weit_rl.comparison.figures import all_figures, profiles
from weit_rl.comparison.results import read
from weit_rl.comparison.statistics import difference, interquartile_mean, mean, mean_steps_to, profile, steps_to
from weit_rl.comparison.tables import ReferenceScore, all_tables
from weit_rl.tasks import Measure, task_entry

CONTROL = task_entry("control")
DATA = ReferenceScore(150, "the data's return")


def row(method, size, seed, budget, value, flops=1e9):
    width, depth = map(int, size.split("x"))
    filled = dict.fromkeys(fields_of(CONTROL), "") | {"method": method, "size": size, "width": width, "depth": depth}
    measured = {
        "return_mean": value,
        "value": value,
        "flops": flops,
        "seconds": 1.0,
        "validation_loss": value and 1e-5 * value,
    }
    return filled | {"seed": seed, "budget": budget, **measured}


def made_up():
    """Make up rows: ours is 10 ahead of scratch at 100 steps, equal on average at 0; bot has one size."""
    rows = []
    for size, base in (("32x3", 100.0), ("96x4", 300.0)):
        for seed in range(3):
            at_0 = {"weit": base, "scratch": base + 5 * (seed - 1)}
            at_100 = {"weit": base + 50 + seed, "scratch": base + 40 + seed}
            for budget, values in ((0, at_0), (100, at_100)):
                rows += [row(method, size, seed, budget, value) for method, value in values.items()]
    return [*rows, row("bot", "96x4", 0, 100, 500.0), row("tleg", "32x3", 0, 100, "") | {"note": "not defined"}]


def test_estimates_and_their_intervals():
    assert mean([[1.0, 3.0], [5.0, 7.0]]).value == 4 and interquartile_mean([[0.0, 1, 2, 1000]]).value == 1.5
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):  # the interval of a mean of 20 holds the true one about 95 times of 100
        low, high = mean([rng.normal(size=20).tolist()])[1:]
        hits += low < 0 < high
    assert 50 <= hits <= 60
    alone = mean([[2.0], [4.0]])  # what cannot be resampled has no interval
    assert alone.value == 3 and math.isnan(alone.low) and alone.text() == "3"
    assert profile([1.0, 2.0, 3.0, 4.0], [0, 2, 5]) == [1, 0.75, 0]


def test_paired_differences():
    rows = made_up()
    estimate, pairs = difference(rows, "weit", "scratch", 100)
    assert (estimate.value, pairs) == (10, 6) and estimate.low == estimate.high == 10
    estimate, _ = difference(rows, "weit", "scratch", 0)
    assert estimate.value == 0 and estimate.low < 0 < estimate.high
    one_seed = [
        row(m, s, 0, 0, v) for m, s, v in [("a", "32x3", 1), ("b", "32x3", 2), ("a", "96x4", 9), ("b", "96x4", 2)]
    ]
    assert difference(one_seed, "a", "b", 0)[0] == (3, -1, 7)  # sizes are what varies then
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
    tables = {table.title: table for table in all_tables(rows, DATA, CONTROL.measure)}
    text = tables["weit minus the other method"].markdown()
    assert "| scratch | tie: 0 (-3 to 3), 6 | ahead: 10 (10 to 10), 6 |" in text and "| bot |  | -150, 1 |" in text
    text = tables["The method minus scratch"].markdown()
    assert "| weit | tie: 0 (-3 to 3), 6 | ahead: 10 (10 to 10), 6 |" in text and "| bot |  | 160, 1 |" in text
    best = tables["Return after 100 steps"].rows
    assert [line[0] for line in best] == ["weit", "scratch", "bot"] and best[2][1:] == ["n/a", "500", ""]
    title = "Loss on held-out data, in units of 1e-05: the other method minus weit (ahead: weit is lower)"
    assert "| scratch | tie: 0 (-3 to 3), 6 | behind: -10 (-10 to -10), 6 |" in tables[title].markdown()
    assert tables["Not applicable"].rows == [["tleg", "32x3", "not defined"]]
    assert "<td>n/a</td>" in tables["Return after 100 steps"].html()
    pictures = all_figures(rows, DATA, 1e12, CONTROL.measure)
    assert all(png.startswith(b"\x89PNG") for png in pictures.values()) and len(set(pictures.values())) == 4


def test_other_tasks_have_their_own_words_and_digits():
    rows = [{**one, "value": one["value"] and one["value"] / 7} for one in made_up()]
    tables = {
        t.title: t
        for t in all_tables(rows, ReferenceScore(20.5, "what scratch reaches"), Measure(("top1",), "top-1", 2))
    }
    assert tables["Top-1 after 100 steps"].rows[0][1:3] == ["21.57", "50.14"]
    assert "1.43 (1.43 to 1.43), 6" in tables["weit minus the other method"].markdown()
    assert "What scratch reaches is 20.50." in tables["Steps to a top-1"].note


def test_further_measures_have_tables_of_results():
    rows = [{**one, "kid": one["value"] and one["value"] / 4000} for one in made_up()]
    measure = Measure(("fid",), "FID", beside=(Measure(("kid",), "KID (x 1000)", 2, less=True, unit=1000),))
    tables = {t.title: t for t in all_tables(rows, ReferenceScore(850, "the FID of scratch"), measure)}
    fid, kid = (tables[f"{word} after 100 steps"].rows for word in ("FID", "KID (x 1000)"))
    assert [line[0] for line in fid] == ["weit", "scratch", "bot"] and [line[0] for line in kid][:2] == [
        "scratch",
        "weit",
    ]
    assert float(kid[1][1]) == float(fid[0][1]) / 4


def test_lower_is_ahead_if_lower_is_better():
    rows = [{**one, "value": one["value"] and 1000 - one["value"]} for one in made_up()]  # ours is 10 below scratch
    measure = Measure(("fid",), "FID", 1, less=True)
    tables = {
        t.title: t for t in all_tables(rows, ReferenceScore(850, "the FID of scratch"), measure, "By a classifier.")
    }
    table = tables["weit minus the other method"].markdown()
    assert "| scratch | tie: 0.0 (-3.3 to 3.3), 6 | ahead: -10.0 (-10.0 to -10.0), 6 |" in table
    assert "| bot |  | 150.0, 1 |" in table
    best = tables["FID after 100 steps"]
    assert [line[0] for line in best.rows] == ["weit", "scratch", "bot"]
    assert best.note.endswith("Lower is better. By a classifier.")
    steps = {tuple(line[:2]): line[2:] for line in tables["Steps to a FID"].rows}
    assert tables["Steps to a FID"].header[2:] == [
        f"to {share} of the FID of scratch" for share in ("200%", "133%", "111%")
    ]
    assert steps["32x3", "weit"][0] == "0 (0 to 0)" and steps["32x3", "weit"][2] == "0 (0 to 0)"  # 900 of 944 allowed
    assert steps_to([(0, 10.0), (99, 4.0)], 7, -1) == pytest.approx(9) and steps_to([(0, 10.0)], 9, -1) == math.inf
    assert profiles(rows, DATA, measure).startswith(b"\x89PNG")


def test_negative_returns_have_no_shares():
    rows = [{**one, "value": one["value"] and -one["value"]} for one in made_up()]
    reference, measure = ReferenceScore(-500, "the data's return"), CONTROL.measure
    assert not any(table.title.startswith("Steps to") for table in all_tables(rows, reference, measure))
    assert all_figures(rows, reference, 1e12, measure).keys() == {"curves", "interquartile_means", "cost"}


def test_a_repeated_cell_is_no_second_seed(tmp_path):
    fields = fields_of(CONTROL)
    row = dict.fromkeys(fields, "1") | {"method": "weit", "size": "32x3", "seed": "0", "budget": "10"}

    def table(*rows):
        path = tmp_path / "results.csv"
        lines = [",".join(fields), *(",".join(str(one[name]) for name in fields) for one in rows)]
        path.write_text("\n".join(lines) + "\n")
        return read(path, CONTROL)

    assert len(table(row, row)) == 1 and len(table(row, row | {"seed": "1"})) == 2
    with pytest.raises(UserError, match=r"two different rows of one cell \(weit at 32x3, seed 0, 10 steps\)"):
        table(row, row | {"seconds": "7"})
