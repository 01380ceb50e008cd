"""What README.md tells users to type works."""

import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import pytest

from weit_rl.common.sizes import LADDER
from weit_rl.options.command import compose
from weit_rl.options.option_table import options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^(?:\S*/)?python -m weit_rl\.(\w+)(.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_snippets_run(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})


@pytest.mark.parametrize(("verb", "rest"), COMMANDS)
def test_commands_have_options_that_exist(verb, rest):
    assert compose(verb, shlex.split(rest, comments=True))


def test_every_verb_is_shown():
    assert {verb for verb, _ in COMMANDS} == {
        "train",
        "pretrain",
        "evaluate",
        "collect",
        "benchmark",
        "vision",
        "export",
    }
    assert SNIPPETS


def rows(title):
    """The cells of the table below a header row that begins with ``title``."""
    table = README.split(f"| {title} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_ladder_is_the_codes():
    assert {name: (int(width), int(depth)) for name, width, depth in rows("name")} == {
        name: (size.width, size.depth) for name, size in LADDER.items()
    }


def test_the_options_exist_and_are_those_scripts_rely_on():
    shown = {name for cells in rows("option") for name in re.findall(r"`([\w.]+)`", cells[0])}
    assert shown - {"size"} <= set(options("train"))
    assert shown >= {"env", "size", "size.width", "size.depth", "init", "bank", "data", "scaler_steps", "train_steps"}
    assert shown >= {"batch_size", "seed", "run_dir", "resume", "device", "episodes"}


def test_extras_and_targets_exist():
    extras = metadata("weit_rl").get_all("Provides-Extra")
    shown = {"dmc", "vision", "export", "hub", "bench", "distributed", "ray", "slurm", "optuna", "dev", "arrow"}
    assert set(re.findall(r"\.\[(\w+)\]", README)) == shown <= set(extras)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check"} <= set(re.findall(r"make (\w+)", README)) & targets


@pytest.mark.parametrize("path", re.findall(r"\]\((\w[\w./]*)\)", README) + re.findall(r"`(\w+/)`", README))
def test_files_it_points_to_exist(path):
    assert path == "tensorboard/" or (ROOT / path).exists()
