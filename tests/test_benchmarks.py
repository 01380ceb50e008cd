"""The scripts of benchmarks/ start, their folders hold a command and its result, and no cell counts twice."""

import re
import runpy
import shlex
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest

from weit_rl.common.errors import UserError
from weit_rl.options.command import compose

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # benchmarks/ is no part of the installed package
from benchmarks._shared.rows import append, finished  # noqa: E402
from benchmarks._shared.script import run_script  # noqa: E402

FOLDERS = sorted(path for path in (ROOT / "benchmarks").iterdir() if path.is_dir() and not path.name.startswith("_"))
SCRIPTS = [folder.name for folder in FOLDERS if (folder / "run.py").exists()]
SHELL = [folder.name for folder in FOLDERS if (folder / "run.sh").exists()]
RESULTS = {".md", ".csv", ".json", ".png"}
WITHOUT_RESULT = {"dead_units", "fid_floor"}  # docs/results.md or a page has their numbers
IGNORED = {"__pycache__", "agents", "banks", "cells", "data", "logs", "recorded", "runs", "sources", "trials"}
CELL = ("method", "size", "seed")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_its_help(name, monkeypatch, capsys):
    if name in ("acting", "training_speed"):
        pytest.importorskip("transformers", reason="the peer of benchmarks: pip install 'weit_rl[bench]'")
    module = f"benchmarks.{name}.run"
    script = import_module(module)
    monkeypatch.setattr(sys, "argv", ["run.py", "--help"])
    with pytest.raises(SystemExit) as end:
        script.main()
    assert end.value.code == 0 and f"python -m {module}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["docs_commands", "fuzz", "kills", "soak"])
def test_a_stress_script_prints_its_help(name, monkeypatch, capsys):
    stress = ROOT / "tests" / "stress"
    monkeypatch.syspath_prepend(stress)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(stress / f"{name}.py"), run_name="__main__")
    assert end.value.code == 0 and f"python tests/stress/{name}.py" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", SHELL)
def test_the_commands_of_a_shell_script_have_options_that_exist(name):
    text = (ROOT / "benchmarks" / name / "run.sh").read_text().replace("\\\n", " ")
    commands = re.findall(r"^python -m weit_rl\.(\w+)(.*)$", text, re.MULTILINE)
    assert commands and all(compose(verb, shlex.split(rest)) for verb, rest in commands)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_holds_a_command_and_results_that_begin_with_it(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and not ignored(path)]
    (script,) = (path for path in files if path.name in ("run.py", "run.sh"))
    beside = {path.suffix for path in files if path != script and path.suffix not in RESULTS}
    assert script.parent == folder and beside <= ({".py", ".yaml"} if script.suffix == ".py" else set())
    command = (
        f"python -m benchmarks.{folder.name}.run" if script.suffix == ".py" else f"bash {script.relative_to(ROOT)}"
    )
    pages = [path for path in files if path.suffix == ".md"]
    assert bool(pages) == (folder.name not in WITHOUT_RESULT)
    for page in pages:
        title, empty, line = page.read_text().splitlines()[:3]
        assert title.startswith("#") and not empty and re.match(rf"    (\w+=\d+ )?{re.escape(command)}\b", line), page


def ignored(path):
    """Return True for files of runs and of Python that .gitignore excludes."""
    return path.name == "report.html" or not IGNORED.isdisjoint(path.parts)


def test_the_table_of_benchmarks_has_a_row_for_every_folder():
    text = (ROOT / "benchmarks" / "README.md").read_text()
    assert re.findall(r"^\| ([\w-]+) \|", text, re.MULTILINE)[1:] == [folder.name for folder in FOLDERS]


def test_a_repeated_cell_is_refused(tmp_path):
    row = {"method": "weit", "size": "32x3", "seed": 0, "value": 1.0}
    append(tmp_path / "cells-0.csv", row, row)
    append(tmp_path / "cells-1.csv", row, row | {"seed": 1})
    assert [cell["seed"] for cell in finished(tmp_path, "cells*.csv", CELL)] == ["0", "1"]
    append(tmp_path / "cells-1.csv", row, row | {"value": 2.0})
    where = r"cells-0\.csv and cells-1\.csv: two rows of one cell \(method weit, size 32x3, seed 0\)"
    with pytest.raises(UserError, match=where):
        finished(tmp_path, "cells*.csv", CELL)
    with pytest.raises(UserError, match=r"cells-2\.csv: two rows of one cell"):
        for _ in range(2):
            append(tmp_path / "cells-2.csv", row, row)
        finished(tmp_path, "cells-2.csv", CELL)


def test_a_script_tells_a_user_s_error_in_one_line(capsys):
    def main():
        raise UserError("cells.csv: two rows of one cell")

    with pytest.raises(SystemExit) as end:
        run_script(main)
    assert end.value.code == 2 and capsys.readouterr().err == "error: cells.csv: two rows of one cell\n"


@pytest.mark.parametrize(
    "name",
    ["sizes", "pixels", "ladder", "many_bodies", "shared_bank", "transfer", "modalities", "ml45", "other_agents"],
)
def test_no_committed_result_has_a_cell_twice(name):
    script = import_module(f"benchmarks.{name}.run")
    folders = {path.parent for path in (ROOT / "benchmarks" / name).rglob("*.csv") if not ignored(path)}
    assert folders and all(finished(folder, "*.csv", script.CELL) for folder in folders)


@pytest.mark.parametrize(
    ("name", "words", "folder"),
    [
        ("sizes", ["--model", "tcn"], "sizes/tcn"),
        ("many_bodies", [], "many_bodies"),
        ("transfer", [], "transfer"),
        ("ml45", [], "ml45"),
        ("other_agents", [], "other_agents"),
    ],
)
def test_a_committed_table_is_that_of_its_rows(name, words, folder, tmp_path, monkeypatch):
    committed = ROOT / "benchmarks" / folder
    for path in (*committed.glob("*.csv"), *committed.glob("*.json")):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr("weit_rl.comparison.statistics.RESAMPLES", 2000)  # what users get, as in the committed table
    monkeypatch.setattr(sys, "argv", ["run.py", "table", *words, "--out", str(tmp_path)])
    import_module(f"benchmarks.{name}.run").main()
    tables = [
        [line for line in (place / "README.md").read_text().splitlines() if line.startswith("|")]
        for place in (committed, tmp_path)
    ]
    assert tables[0] and tables[0] == tables[1]
