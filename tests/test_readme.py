"""README.md and the pages that it leads to: every command and snippet in them works."""

import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml
from PIL import Image

import weit_rl
from weit_rl.common.sizes import LADDER
from weit_rl.envs.registry import ENVS
from weit_rl.initializers import INITIALIZERS
from weit_rl.options.command import compose
from weit_rl.options.option_table import options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in (ROOT / "docs").glob("*.md")}
ROOT_PAGES = {name: (ROOT / f"{name}.md").read_text() for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")}
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMAND = re.compile(r"^(?:\S*/)?python -m weit_rl\.(\w+)((?: .*)?)$", re.MULTILINE)
COMMANDS = [command for text in ROOT_PAGES.values() for command in COMMAND.findall(text)]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_snippets_run(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})


@pytest.mark.parametrize(("verb", "rest"), COMMANDS)
def test_commands_have_options_that_exist(verb, rest):
    assert compose(verb, shlex.split(rest, comments=True))


def test_it_is_short_and_begins_with_a_picture_and_a_few_lines_of_python():
    assert len(README.splitlines()) <= 160 and SNIPPETS
    first = README.partition("\n## ")[0]
    assert "docs/picture.gif" in first
    lines = [line for line in SNIPPETS[0].splitlines() if line]
    assert SNIPPETS[0] in first and len(lines) <= 8


def test_the_picture_moves_and_is_small():
    path = ROOT / "docs" / "picture.gif"
    assert path.stat().st_size <= 3_000_000
    with Image.open(path) as picture:
        assert picture.format == "GIF" and picture.n_frames >= 50


def test_every_verb_is_shown():
    shown = {verb for text in [README, *PAGES.values()] for verb, _ in COMMAND.findall(text)}
    assert shown == {"train", "pretrain", "evaluate", "collect", "benchmark", "vision", "export"}
    assert {"train", "evaluate", "export"} <= {verb for verb, _ in COMMAND.findall(README)}


def rows(page, title):
    """Return the cells of the table below a header row that begins with ``title``."""
    table = PAGES[page].split(f"| {title} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def words(cells):
    """Return the code in the first cells."""
    return {name for row in cells for name in re.findall(r"`([\w.]+)`", row[0])}


def test_the_ladder_is_the_codes():
    assert {name: (int(width), int(depth)) for name, width, depth in rows("train", "name")} == {
        name: (size.width, size.depth) for name, size in LADDER.items()
    }


def test_the_options_exist_and_are_those_scripts_rely_on():
    shown = words(rows("train", "option"))
    assert shown - {"size"} <= set(options("train"))
    assert shown >= {"env", "size", "size.width", "size.depth", "init", "bank", "data", "scaler_steps", "train_steps"}
    assert shown >= {"batch_size", "seed", "run_dir", "resume", "device", "episodes"}


def test_the_table_of_ways_has_every_initialiser():
    assert words(rows("ways", "`init`")) == set(INITIALIZERS.names())


def test_the_table_of_environments_has_every_name():
    assert words(rows("environments", "`env`")) >= {name for name in ENVS.names() if re.fullmatch(r"\w+", name)}


def test_extras_and_targets_exist():
    extras = metadata("weit_rl").get_all("Provides-Extra")
    shown = {"dmc", "vision", "export", "hub", "bench", "distributed", "ray", "slurm", "optuna", "dev", "arrow"}
    shown |= {"metaworld"}
    told = {name for text in PAGES.values() for name in re.findall(r"\.\[(\w+)\]", text)}
    assert set(re.findall(r"\.\[(\w+)\]", PAGES["install"])) == told == shown | {"test", "docs"} <= set(extras)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "docs"} <= set(re.findall(r"make (\w+)", README)) & targets


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == weit_rl.__version__
    assert citation["license"] == metadata("weit_rl")["License-Expression"]


def test_scripts_that_are_shown_exist():
    texts = [*ROOT_PAGES.values(), *(text for name, text in PAGES.items() if not name.startswith("_"))]
    shown = {path for text in texts for path in re.findall(r"python\s+((?:[\w-]+/)+[\w-]+\.py)", text)}
    modules = {name for text in texts for name in re.findall(r"python\s+-m\s+((?:benchmarks|tests)\.[\w.]+)", text)}
    shown |= {f"{name.replace('.', '/')}.py" for name in modules}
    assert len(shown) > 20
    assert not [path for path in shown if not (ROOT / path).exists()]


LINKS = [
    pytest.param(path, id=f"{name}-{path}")
    for name, text in ROOT_PAGES.items()
    for path in re.findall(r"\]\((\w[\w./-]*)\)", text) + re.findall(r"`(\w+/)`", text)
]


@pytest.mark.parametrize("path", LINKS)
def test_files_it_points_to_exist(path):
    assert (ROOT / path).exists()
