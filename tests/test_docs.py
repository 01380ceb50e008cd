"""The documentation: its snippets run, its commands are right, and the site of it builds without a warning."""

import gc
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from weit_rl.command import compose, help_text
from weit_rl.data.formats import load_formats
from weit_rl.data.images import load_sources
from weit_rl.envs.entry import load_families
from weit_rl.options import config_text, options
from weit_rl.registry import Registry

ROOT = Path(__file__).parents[1]
PAGES = {path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
PYTHON = {name: found for name, text in PAGES.items() if (found := re.findall(r"```python\n(.*?)```", text, re.DOTALL))}
COMMANDS = [
    pytest.param(verb, rest, id=f"{name}-{verb}")
    for name, text in PAGES.items()
    for verb, rest in re.findall(r"^(?: {4})?(?:OMP_NUM_THREADS=1 )?python -m weit_rl\.(\w+)(.*)$", text, re.MULTILINE)
]
SITE = ROOT / "docs" / "site"


@pytest.fixture
def registries(monkeypatch):
    """What is added to any registry is gone after the test; those that fill themselves when asked are full before."""
    load_families(), load_formats(), load_sources()
    for registry in [thing for thing in gc.get_objects() if type(thing) is Registry]:
        monkeypatch.setattr(registry, "_things", dict(registry._things))


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """Put a file where its page says, into an own copy of a package's folder, and import it."""
    monkeypatch.syspath_prepend(tmp_path)
    mine = []

    def put(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        name = path.removesuffix(".py").replace("/", ".")
        if "." in name:
            name = name if name.startswith("weit_rl.") else f"weit_rl.{name}"
            package = importlib.import_module(name.rpartition(".")[0])
            monkeypatch.setattr(package, "__path__", [*package.__path__, str((tmp_path / path).parent)])
        importlib.invalidate_caches()
        mine.append(importlib.import_module(name).__name__)

    yield put
    for name in mine:
        del sys.modules[name]


@pytest.mark.parametrize("page", PYTHON)
def test_python_snippets_run(page, tmp_path, monkeypatch, registries, placed):
    monkeypatch.chdir(tmp_path)
    names = {}
    for snippet in PYTHON[page]:
        if path := re.match(r"# (\S+\.py)\n", snippet):
            assert not (ROOT / path[1]).exists()
            placed(path[1], snippet)
        else:
            exec(compile(snippet, page, "exec"), names)


@pytest.mark.parametrize(("verb", "rest"), COMMANDS)
def test_commands_have_options_that_exist(verb, rest):
    assert compose(verb, shlex.split(rest, comments=True))
