"""The documentation: its snippets run, its commands are right, and the site of it builds without a warning."""

import gc
import html
import importlib
import itertools
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from weit_rl.common.registry import Registry
from weit_rl.data.formats import FORMATS
from weit_rl.data.images import SOURCES
from weit_rl.envs.registry import ENVS
from weit_rl.options.command import compose
from weit_rl.options.option_table import VERBS, options

ROOT = Path(__file__).parents[1]
PAGES = {path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
PYTHON = {name: found for name, text in PAGES.items() if (found := re.findall(r"```python\n(.*?)```", text, re.DOTALL))}
ELSEWHERE = {"deploy.md"}  # whose snippets need files: test_export.py and test_hub.py run them
BY_HYDRA = {"options.md"}  # whose commands need files: test_hydra.py gives them to Hydra
COMMANDS = [
    pytest.param(verb, rest, id=f"{name}-{verb}")
    for name, text in PAGES.items()
    if name not in BY_HYDRA
    for verb, rest in re.findall(r"^(?: {4})?(?:OMP_NUM_THREADS=1 )?python -m weit_rl\.(\w+)(.*)$", text, re.MULTILINE)
]
SITE = ROOT / "docs" / "site"


@pytest.fixture
def registries(monkeypatch):
    """What is added to any registry is gone after the test; those that fill themselves when asked are full before."""
    ENVS.load(), FORMATS.load(), SOURCES.load()
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


@pytest.mark.parametrize("page", sorted(set(PYTHON) - ELSEWHERE))
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    for name in ("sphinx", "myst_parser", "pydata_sphinx_theme", "latex2mathml"):
        pytest.importorskip(name, reason="the site needs more packages: pip install 'weit_rl[docs]'")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, SITE / "build.py", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages = {path: path.read_text() for path in site.rglob("*.html") if "_static" not in path.parts}
    assert len(pages) > 100
    for path, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"#?]+)', text):
            assert re.match(r"\w+:", link) or (path.parent / link).exists(), f"{path}: {link}"
        assert not re.search(r'<(?:script|img)[^>]* src="http|<link[^>]* rel="stylesheet"[^>]* href="http', text), path


def test_every_option_of_every_command_has_its_row(site):
    for stem in VERBS:
        rows = re.findall(r"<tr.*?</tr>", (site / "verbs" / f"{stem}.html").read_text(), re.DOTALL)
        told = {html.unescape(" ".join(re.sub(r"<[^>]+>", "", row).split())) for row in rows}
        for option in options(stem).values():
            help = " ".join(option.help.removeprefix(f"[{option.kind}] ").split())
            assert any(row.startswith(f"{option.key} {option.kind} ") and row.endswith(help) for row in told), option


def test_every_module_has_its_page_and_formulas_are_drawn_by_the_browser(site):
    modules = {f"weit_rl.{path.stem}" for path in (ROOT / "weit_rl").glob("[!_]*.py")}
    pages = {path.stem for path in (site / "api").iterdir()}
    assert modules | {"weit_rl.envs.registry", "weit_rl.agents.video"} <= pages
    assert 'id="weit_rl.core.plan.Plan.infer"' in (site / "api" / "weit_rl.core.plan.html").read_text()
    assert "<math" in (site / "docs" / "theory.html").read_text() and not list(site.rglob("*mathjax*"))


def test_the_pictures_of_the_concepts_are_drawn_again(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "docs" / "concepts.py", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = {path.name for path in (ROOT / "docs" / "concepts").iterdir()}
    shown = set(re.findall(r"concepts/(\w+\.svg)", PAGES["concepts.md"]))
    assert {path.name for path in tmp_path.iterdir()} == kept == shown


def test_the_picture_of_growth_shows_the_exponents_of_its_cells(tmp_path, monkeypatch):
    drawing = runpy.run_path(str(ROOT / "docs" / "scaling.py"))
    found = list(drawing["sweeps"](drawing["TABLE"].read_text()))
    assert [title.split(" ")[0] for title, _, _ in found] == ["width", "depth", "N"]
    for (_, values, columns), name in itertools.product(found, drawing["LINES"]):
        *cells, exponent = map(float, columns[name])
        assert np.polyfit(np.log(values), np.log(cells), 1)[0] == pytest.approx(exponent, abs=0.02)
    monkeypatch.setattr(sys, "argv", ["scaling.py", str(tmp_path / "it.png")])
    drawing["main"]()
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")
