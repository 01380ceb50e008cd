"""The pages that are made from the code: one for each command's options, one for each module's docstrings."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import weit_rl
from weit_rl.options.command import VISION_MODES, config_name
from weit_rl.options.option_table import VERBS, Option, options
from weit_rl.options.option_table import about as lines_about

OPTIONS = re.compile(r"<!-- options: (\w+) -->")  # in a page: the place of a command's table


def pages(shown: dict[str, str]) -> dict[str, str]:
    """Make the pages that have no Markdown of their own.

    Args:
        shown: the page that has a command's options already, by file of options.

    Returns:
        Markdown by its path in the site, without the suffix.
    """
    return {**verb_pages(shown), **api_pages()}


def homes(source: Path) -> dict[str, str]:
    """Find the pages below ``source/docs`` that have a place for options: file of options -> page, without suffix."""
    found = {}
    for path in sorted((source / "docs").rglob("*.md")):
        for stem in OPTIONS.findall(path.read_text(encoding="utf-8")):
            found[stem] = path.relative_to(source).with_suffix("").as_posix()
    return found


def with_options(text: str) -> str:
    """Put the tables of options into the places of a page."""
    return OPTIONS.sub(lambda place: option_table(place[1]), text)


def verb_pages(shown: dict[str, str]) -> dict[str, str]:
    """Make one page for the options of each command that no page shows, and the list of all."""
    stems = sorted(VERBS, key=lambda stem: (stem.startswith("vision_"), stem))
    own = [stem for stem in stems if stem not in shown]
    made = {f"verbs/{stem}": verb_page(stem) for stem in own}
    places = {stem: f"../{shown[stem]}.md#all-options" if stem in shown else f"{stem}.md" for stem in stems}
    rows = [f"| [`{call(stem).removeprefix('python -m ')}`]({places[stem]}) | {prose(about(stem))} |" for stem in stems]
    made["verbs/index"] = "\n".join(
        [
            "# Commands\n",
            "Every command takes `key=value` words, and `--help` prints what is on these pages. Bad input ends in one",
            "line and exit code 2; 130 is Ctrl-C, 143 SIGTERM. The same commands are functions:",
            '`weit_rl.train.main(weit_rl.options.command.compose("train", ["size=tiny"]))`.\n',
            "| command | what it does |\n|---|---|",
            *rows,
            "",
            toctree(own),
        ]
    )
    return made


def verb_page(stem: str) -> str:
    """Make the page of a command: what it does, and a table of its options."""
    usage = f"    {call(stem)} [option=value ...]\n"
    return "\n".join([f"# {title(stem)}\n", usage, prose(about(stem)), "", option_table(stem)])


def option_table(stem: str) -> str:
    """A row for each option of a command."""
    rows = [option_row(option) for option in options(stem).values()]
    return "\n".join(["| option | type | default | what it is |\n|---|---|---|---|", *rows])


def option_row(option: Option) -> str:
    """Make one row of a command's table."""
    default = "null" if option.default is None else str(option.default)
    default = default.lower() if isinstance(option.default, bool) else default
    help = option.help.removeprefix(f"[{option.kind}] ")
    shown = "must be given" if default == "???" else f"`{default}`"
    return f"| `{option.key}` | {option.kind} | {shown} | {prose(help)} |"


def call(stem: str) -> str:
    """Return the command that has these options."""
    verb, words = stem, []
    if stem.startswith("vision_"):
        rest = stem.removeprefix("vision_")
        inside = rest in VISION_MODES
        verb = "vision" if inside else rest
        words = [f"mode={rest}" if inside else f"task={options(stem)['task'].default}"]
    assert config_name(verb, words) == stem, f"nothing has the options of {stem}"
    return " ".join(["python -m", f"weit_rl.{verb}", *words])


def title(stem: str) -> str:
    """A page's heading: the command without Python."""
    return call(stem).removeprefix("python -m weit_rl.")


def about(stem: str) -> str:
    """Describe what a command does."""
    return " ".join(lines_about(stem).split())


def prose(text: str) -> str:
    """Plain text as Markdown, words like ``size=small`` as code."""
    parts = re.split(r"((?<![\w.])[\w.]+=(?:\[[^\]]*\]|[^\s,;:()\[\]]*[^\s,;:().\[\]]))", text)
    escaped = [re.sub(r"([\\`*_\[\]<>$])", r"\\\1", part) for part in parts[::2]]
    code = [f"`{part}`" for part in parts[1::2]] + [""]
    return "".join(a + b for a, b in zip(escaped, code, strict=True)).replace("|", "\\|")


def api_pages() -> dict[str, str]:
    """Make a page for each module, with its modules if it is a package."""
    about = {"weit_rl": "", **dict(modules(weit_rl.__path__, "weit_rl"))}
    inside = {name: sorted(module for module in about if module.rpartition(".")[0] == name) for name in about}
    made = {f"api/{name}": module_page(name, {module: about[module] for module in inside[name]}) for name in about}
    public = ", ".join(f"{{py:obj}}`{name} <weit_rl.{home}.{name}>`" for name, home in sorted(weit_rl._MODULES.items()))
    head = f"# API reference\n\n`from weit_rl import ...` gives {public}. Everything else is in its module.\n"
    made["api/index"] = made.pop("api/weit_rl").replace("# weit_rl\n", head, 1)
    return made


def modules(paths: Iterable[str], package: str) -> Iterator[tuple[str, str]]:
    """The modules below a package and the first sentence of each, found without importing them."""
    for found in pkgutil.iter_modules(paths):
        name = f"{package}.{found.name}"
        if found.name in ("__main__", "weit_rl"):  # a checkout's root is a place of the package, too
            continue
        spec = found.module_finder.find_spec(found.name)
        docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
        if docstring:
            yield name, docstring.partition("\n\n")[0].replace("\n", " ").replace("``", "")
        if found.ispkg:
            yield from modules(spec.submodule_search_locations, name)


def module_page(name: str, inside: dict[str, str]) -> str:
    """A module's docstrings, and the list of its modules if it has any."""
    members = ["   :members:"] if name != weit_rl.__name__ else []  # those are in its modules
    lines = [f"# {name}\n", "```{eval-rst}", f".. automodule:: {name}", *members, "```\n"]
    if inside:
        rows = [f"| [{module}]({module}.md) | {prose(about)} |" for module, about in inside.items()]
        lines += [
            "## Modules\n",
            "| module | what it is |\n|---|---|",
            *rows,
            "",
            toctree([f"{module.rpartition('.')[2]} <{module}>" for module in inside]),
        ]
    return "\n".join(lines)


def toctree(names: list[str]) -> str:
    """The list that makes the menu."""
    return "\n".join(["```{toctree}", ":hidden:", ":maxdepth: 1", *names, "```", ""])
