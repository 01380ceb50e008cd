"""The documentation: its snippets run, and the site of it builds without a warning."""

import gc
import html
import importlib
import itertools
import re
import runpy
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from weit_rl.common.registry import Registry
from weit_rl.options.option_table import VERBS, options

ROOT = Path(__file__).parents[1]
PAGES = {path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
ELSEWHERE = {"deploy.md", "share_banks.md"}  # whose snippets need files: test_export.py and test_hub.py run them
PYTHON = {name: found for name, text in PAGES.items() if (found := re.findall(r"```python\n(.*?)```", text, re.DOTALL))}
SITE = ROOT / "docs" / "site"
SECTIONS = ["Start", "Train a size", "Your data", "Your network", "Stable-Baselines3", "Images", "Deploy"]
SECTIONS += ["Make a bank", "Extend", "Method and theory", "Results", "Reference"]
SHOWN_ON = {"train": "train", "pretrain": "pretrain", "evaluate": "evaluate", "collect": "record", "export": "deploy"}
SHOWN_ON |= {"benchmark": "benchmark", "vision_train": "images"}  # a command's options -> the page that shows them


@pytest.fixture
def registries():
    """Undo additions to any registry after the test; all are loaded before, since each is loaded only once."""
    for path in [*(ROOT / "weit_rl").rglob("registry.py"), ROOT / "envs" / "registry.py"]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        importlib.import_module(name if name.startswith("weit_rl.") else f"weit_rl.{name}")
    with ExitStack() as stack:
        for registry in [thing for thing in gc.get_objects() if type(thing) is Registry]:
            stack.enter_context(registry.temporarily())
        yield


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


@pytest.mark.parametrize("page", sorted(name for name in PAGES if not name.startswith("_")))
def test_a_page_begins_with_its_purpose_and_a_command(page):
    title, _, rest = PAGES[page].partition("\n\n")
    head = rest.partition("\n## ")[0]
    assert re.fullmatch(r"# [^\n]+", title) and not rest.startswith(("```", "|", "#"))
    assert re.search(r"^```(bash|python)\n", head, re.MULTILINE), "no command that works before the first section"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site; return its folder."""
    for name in ("sphinx", "myst_parser", "pydata_sphinx_theme", "latex2mathml"):
        pytest.importorskip(name, reason="the site needs more packages: pip install 'weit_rl[docs]'")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, SITE / "build.py", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / "html"


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages = {path: path.read_text() for path in site.rglob("*.html") if "_static" not in path.parts}
    assert len(pages) > 100
    for path, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"#?]+)', text):
            assert re.match(r"\w+:", link) or (path.parent / link).exists(), f"{path}: {link}"
        assert not re.search(r'<(?:script|img)[^>]* src="http|<link[^>]* rel="stylesheet"[^>]* href="http', text), path


def place_of_options(stem):
    """Return the page with the options of a file: one of docs/ that asks for them, or one made for them."""
    asking = [name for name, text in PAGES.items() if f"<!-- options: {stem} -->" in text]
    assert len(asking) <= 1
    return f"docs/{asking[0].removesuffix('.md')}.html" if asking else f"verbs/{stem}.html"


@pytest.mark.slow
def test_every_option_of_every_command_has_its_row(site):
    assert {place_of_options(stem) for stem in SHOWN_ON} == {f"docs/{page}.html" for page in SHOWN_ON.values()}
    for stem in VERBS:
        rows = re.findall(r"<tr.*?</tr>", (site / place_of_options(stem)).read_text(), re.DOTALL)
        told = {html.unescape(" ".join(re.sub(r"<[^>]+>", "", row).split())) for row in rows}
        for option in options(stem).values():
            help = " ".join(option.help.removeprefix(f"[{option.kind}] ").split())
            assert any(row.startswith(f"{option.key} {option.kind} ") and row.endswith(help) for row in told), option


@pytest.mark.slow
def test_the_sidebar_of_every_page_leads_to_all_pages_by_task(site):
    shown = {page.removesuffix(".md") for page in PAGES if "/" not in page and not page.startswith(("_", "index"))}
    for page in ("index", "docs/train", "api/weit_rl.core.plan", "CHANGELOG"):
        sidebar = (site / f"{page}.html").read_text().split('<nav class="bd-docs-nav', 1)[1].split("</nav>", 1)[0]
        assert re.findall(r'class="caption-text">([^<]+)<', sidebar) == SECTIONS
        linked = set(re.findall(r'href="(?:\.\./)*(?:docs/)?(\w+)\.html"', sidebar))
        assert shown - {page.removeprefix("docs/")} <= linked
        assert 'class="bd-search' in (site / f"{page}.html").read_text()


@pytest.mark.slow
def test_every_module_has_its_page_and_formulas_are_drawn_by_the_browser(site):
    modules = {f"weit_rl.{path.stem}" for path in (ROOT / "weit_rl").glob("[!_]*.py")}
    pages = {path.stem for path in (site / "api").iterdir()}
    assert modules | {"weit_rl.envs.registry", "weit_rl.agents.video"} <= pages
    assert 'id="weit_rl.core.plan.Plan.infer"' in (site / "api" / "weit_rl.core.plan.html").read_text()
    assert "<math" in (site / "docs" / "theory.html").read_text() and not list(site.rglob("*mathjax*"))


@pytest.mark.slow
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
