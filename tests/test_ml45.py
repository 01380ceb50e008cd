"""The benchmark of Meta-World's ML45: frozen cells, tuning apart from reporting, a tiny run, and its tables."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from shared_envs import METAWORLD, refusal

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # benchmarks/ is no part of the installed package
from benchmarks.ml45 import part as parts  # noqa: E402
from benchmarks.ml45 import run  # noqa: E402
from benchmarks.ml45.cells import FIELDS, Cell, cells, why_not  # noqa: E402
from benchmarks.ml45.tables import all_tables  # noqa: E402
from weit_rl.common.seeds import SEEDS_APART, TEST  # noqa: E402
from weit_rl.envs.registry import ENV_GROUPS  # noqa: E402

TINY = """
pretraining: {size: 64x2, widths: [32, 64], depths: [1, 2], rank: 4, steps: 4, batch_size: 4, data_episodes: 2}
networks: {model: mlp, rtg: none, model_options: {activation: gelu}}
targets: {batch_size: 4}
tuning: {}
reported:
  {pretrain: [metaworld/reach, metaworld/push], pretrain_without: [push], tasks: [door-open], demonstrations: [1],
   sizes: [32x2], seeds: [0], budgets: [3], episodes: 1, methods: [weit, scratch]}
first: {demonstrations: [1], budgets: [3]}
"""


@pytest.fixture(scope="module")
def reported():
    return parts.read_part("reported")


@pytest.fixture(scope="module")
def tuning():
    return parts.read_part("tuning")


def test_the_reported_part_is_frozen(reported):
    assert set(reported.pretrain) == set(ENV_GROUPS.get("metaworld/ML45-train"))
    assert {parts.env_of(task) for task in reported.tasks} == set(ENV_GROUPS.get("metaworld/ML45-test"))
    assert (reported.demonstrations, reported.seeds, reported.episodes) == ((1, 5, 20), (0, 1, 2), 20)
    assert reported.sizes == ("32x2", "96x3", "192x4", "256x3")
    assert reported.budgets == (0, 30, 100, 300, 1000, 3000)
    rivals = ("supernet", "weight_selection", "bot", "ligo", "svd_bank", "pruning", "scratch")
    assert reported.methods == ("weit", *rivals)


def test_tuning_is_apart_from_what_is_reported(reported, tuning):
    assert not set(tuning.tasks) & set(reported.tasks) and not set(tuning.sizes) & set(reported.sizes)
    assert not set(tuning.pretrain) & {parts.env_of(task) for task in (*tuning.tasks, *reported.tasks)}
    assert len(tuning.pretrain) == 40 and set(tuning.pretrain) < set(reported.pretrain)
    ranges = [range(TEST.of(seed), TEST.of(seed) + SEEDS_APART) for seed in (*tuning.seeds, *reported.seeds)]
    assert all(a.stop <= b.start for a, b in zip(sorted(ranges, key=min), sorted(ranges, key=min)[1:], strict=False))


def test_no_reported_size_is_sampled(reported):
    pretraining = reported.options["pretraining"]
    sampled = {f"{width}x{depth}" for width in pretraining["widths"] for depth in pretraining["depths"]}
    assert not sampled & set(reported.sizes) and pretraining["size"] in sampled


def test_the_most_informative_cells_come_first(reported):
    found = cells(reported)
    assert len(set(found)) == len(found) == 6750
    first = found[: len([cell for cell in found if cell.seed == 0 and cell.demonstrations == 5])]
    assert {(cell.seed, cell.demonstrations) for cell in first} == {(0, 5)}
    assert list(dict.fromkeys(cell.budget for cell in first)) == [100, 300, 1000, 0, 30, 3000]
    assert [cell.method for cell in found[:6]] == ["weit", "supernet", "weight_selection", "bot", "svd_bank", "scratch"]
    assert list(dict.fromkeys((cell.seed, cell.demonstrations) for cell in found))[:4] == [
        (0, 5),
        (0, 1),
        (0, 20),
        (1, 5),
    ]


def test_a_method_has_no_cells_where_it_is_not_defined(reported):
    assert why_not(reported, "ligo", "96x3", 30) == "its own stage has 100 steps"
    assert "narrower" in why_not(reported, "ligo", "32x2", 100) and not why_not(reported, "ligo", "256x3", 100)
    assert "wider" in why_not(reported, "weight_selection", "192x4", 0)
    assert not {"192x4", "256x3"} & {cell.size for cell in cells(reported) if cell.method == "pruning"}
    assert {cell.size for cell in cells(reported) if cell.method == "bot"} == set(reported.sizes)


def command(monkeypatch, out, *words):
    monkeypatch.setattr(sys, "argv", ["run.py", *words, "--out", str(out)])
    run.main()


@METAWORLD
def test_a_tiny_benchmark_runs_and_goes_on(tmp_path, monkeypatch, capsys):
    frozen = tmp_path / "frozen.yaml"
    frozen.write_text(TINY)
    monkeypatch.setattr(run, "read_part", lambda name: parts.read_part(name, frozen))
    command(monkeypatch, tmp_path, "cells", "--data", "expert", "--methods", "weit")
    assert "1 cells wait for their sources" in capsys.readouterr().out
    command(monkeypatch, tmp_path, "sources", "--data", "expert")
    (cost,) = json.loads((tmp_path / "sources.json").read_text())
    assert (cost["part"], cost["source"], cost["seed"], cost["steps"]) == ("reported", "kronecker", 0, 4)
    for _ in range(2):
        command(monkeypatch, tmp_path, "cells", "--data", "expert")
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    found = [(row["method"], row["source"], row["steps"]) for row in rows]
    assert found == [("weit", "kronecker", "3"), ("scratch", "", "3")]
    assert {row["success"] for row in rows} <= {"0.0", "100.0"} and not list(tmp_path.glob("cells/reported/*-*"))
    command(monkeypatch, tmp_path, "table")
    assert "2 of 2 cells are finished" in (tmp_path / "README.md").read_text()


def row_of(cell, success):
    numbers = {
        "success": success,
        "return": 1.0,
        "steps": cell.budget,
        "flops": 2e9,
        "seconds": 1,
        "validation_loss": 0.1,
    }
    return dict(zip(FIELDS, map(str, (*cell.key(), *numbers.values(), "")), strict=True))


def test_a_table_of_a_few_rows(reported):
    places = [("bin-picking", 0), ("box-close", 0), ("door-lock", 1)]
    rows = [row_of(Cell("weit", task, 5, "96x3", seed, 300), 60 + 10 * seed) for task, seed in places]
    rows += [row_of(Cell("scratch", task, 5, "96x3", seed, 300), 40) for task, seed in places[:2]]
    rows += [row_of(Cell("scratch", "box-close", 5, "32x2", 0, 300), 100)]
    text = all_tables(reported, rows, [])
    assert "6 of 6750 cells are finished" in text
    assert "| weit | missing | missing | missing | 63.3 (3 of 60) | missing | missing |" in text
    assert "| scratch | missing | missing | missing | 60.0 (3 of 60) | missing | missing |" in text
    assert "| ligo | - | - | missing | missing | missing | missing |" in text
    assert "| scratch |  |  |  | ahead: 20.0 (20.0 to 20.0), 2 |  |  |" in text
    assert "| pruning | steps 0, 30, 100 | its own stage has 300 steps |" in text


def test_a_complete_mean_has_no_count(reported):
    done = [cell for cell in cells(reported) if (cell.method, cell.demonstrations, cell.budget) == ("weit", 1, 30)]
    text = all_tables(reported, [row_of(cell, 25) for cell in done], [])
    assert "| weit | missing | 25.0 | missing | missing | missing | missing |" in text


def test_a_wrong_word_is_one_line(tmp_path, monkeypatch):
    words = ("cells", "--data", "expert", "--methods")
    assert "--methods" in refusal(command, monkeypatch, tmp_path, *words, "wight_selection")
    assert refusal(command, monkeypatch, tmp_path, "cells").startswith("--data is missing")
    shutil.rmtree(tmp_path)
