"""Build the site: ``python docs/site/build.py [OUT]``, by default in build/site; open OUT/html/index.html.

Its pages are the Markdown files of the repository, where they are, and what ``pages.py`` makes from the code. Warnings
are errors: a link that leads nowhere, a page in no menu, a docstring that is not well formed.
"""

import re
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]
KEPT = {".md", ".png", ".svg", ".gif", ".py", ".sh", ".yaml", ".csv", ""}  # kinds of files that pages show and link to
LEFT_OUT = {"build", "dist", "runs", "assets", "__pycache__", "banks", "recorded", "sources", "cells", "trials", "logs"}


def stage(source: Path) -> None:
    """Copy the repository's pages with the files they show and link to, and write the generated pages beside them."""
    from pages import homes, pages, with_options

    shutil.copytree(ROOT, source, ignore=lambda folder, names: left_out(Path(folder), names, source.parent))
    first = source / "docs" / "index.md"  # of the site, and so not below docs
    links = re.sub(r"\]\((?=[\w.])", "](docs/", first.read_text(encoding="utf-8"))
    (source / "index.md").write_text(links.replace("](docs/../", "]("), encoding="utf-8")
    first.unlink()
    shown = homes(source)
    for page in shown.values():
        path = source / f"{page}.md"
        path.write_text(with_options(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name, text in pages(shown).items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / f"{name}.md").write_text(text, encoding="utf-8")


def left_out(folder: Path, names: list[str], out: Path) -> list[str]:
    """List the names in a folder that no page needs: hidden files, runs, weights and data, the site."""
    return [name for name in names if name.startswith(".") or name in LEFT_OUT or not kept(folder / name, out)]


def kept(path: Path, out: Path) -> bool:
    """Return True for a folder, or a kind of file that pages are made of."""
    return path != out and path.suffix != ".egg-info" if path.is_dir() else path.suffix in KEPT


def build(out: Path) -> int:
    """Replace ``out/source`` and ``out/html``; return Sphinx's exit code."""
    for folder in ("source", "html"):
        shutil.rmtree(out / folder, ignore_errors=True)
    stage(out / "source")
    words = ["-q", "-W", "--keep-going", "-c", HERE, "-d", out / "doctrees", out / "source", out / "html"]
    return build_main([str(word) for word in words])


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"
    code = build(out.resolve())
    sys.exit(code or print(out / "html" / "index.html"))
