"""The report of a comparison: README.md with pictures, or one HTML page that contains everything."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from weit_rl.comparison.tables import Table
from weit_rl.storage.atomic_write import write_atomically

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
div.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .87rem }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { border-bottom: 2px solid #888 }
p { color: #555; font-size: .87rem } img { max-width: 100% } code { background: #f3f3f3; padding: .1rem .3rem }
"""


def write_markdown(
    folder: Path, title: str, facts: Sequence[str], tables: Sequence[Table], figures: Mapping[str, bytes]
) -> Path:
    """Write README.md and the pictures."""
    for name, png in figures.items():
        write_atomically(folder / f"{name}.png", png)
    pictures = "\n".join(f"![{name.replace('_', ' ')}]({name}.png)\n" for name in figures)
    text = "\n".join(
        [f"# {title}\n", *(f"{fact}\n" for fact in facts), pictures, *(table.markdown() for table in tables)]
    )
    write_atomically(folder / "README.md", text.encode())
    return folder / "README.md"


def write_html(
    folder: Path, title: str, facts: Sequence[str], tables: Sequence[Table], figures: Mapping[str, bytes]
) -> Path:
    """Write report.html, which needs no other file."""
    pictures = "".join(
        f"<h2>{name.replace('_', ' ').capitalize()}</h2>"
        f'<img alt="{name.replace("_", " ")}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for name, png in figures.items()
    )
    grids = "".join(f'<div class="wide">{table.html()}</div>' for table in tables)
    lines = "".join(f"<p>{html.escape(fact)}</p>" for fact in facts)
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    body = f"<h1>{html.escape(title)}</h1>{lines}{pictures}{grids}"
    page = f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"
