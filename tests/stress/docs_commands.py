"""Run the shell commands of README, CONTRIBUTING, SECURITY and docs/, page by page, as a user would.

    OMP_NUM_THREADS=1 python tests/stress/docs_commands.py

Every page has an empty folder of its own. Words behind a command cut its work, and episodes end after 60 steps; nothing
else is changed. docs_fixtures.py makes what placeholders such as path/to/set name. Commands of the clone run in a
copy of it. It prints a line for each command: ok, failed with the error, or not run with the reason. The options of a
command that is not run are composed. The exit code is 1 if a command failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docs_cuts import APPENDED, EPISODES, NOT_RUN, cut
from docs_fixtures import Fixtures

from weit_rl.common.errors import UserError
from weit_rl.options.command import compose

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")] + sorted((ROOT / "docs").rglob("*.md"))
SECONDS = 1800  # of one command
INDENTED = re.compile(r" {4}((?:python|weit-rl|pip|make|eval|torchrun|minari) .+)")
VERB = re.compile(r"(?:-m weit_rl\.|weit-rl )(train|pretrain|evaluate|collect|export|benchmark|vision)\b *(.*)")
PLACED = re.compile(r"```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n.*?```", re.DOTALL)
OF_CLONE = re.compile(r"python (-m (benchmarks|pytest)|(docs|examples|tests)/)")
PYTHON = re.compile(r"```python\n(?!# \S+\.py\n)(.*?)```", re.DOTALL)
FILES_OF = {"docs/add/index.md": "docs/add/environment.md"}  # page -> the page whose files it goes by


class Outcome(NamedTuple):
    """How a command ended: ``ok``, ``failed`` or ``not run``, and why."""

    what: str
    why: str = ""


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line numbers and shell commands of a page: in its bash blocks, and indented ones."""
    language = None
    for number, line in enumerate(text.splitlines(), 1):
        if fence := re.match(r" *```(\w*)", line):
            language = None if language is not None else fence[1]
        elif language == "bash" and (command := line.strip()) and not command.startswith("#"):
            yield number, command
        elif language is None and (indented := INDENTED.fullmatch(line)):
            yield number, indented[1]


def put_files(page: str, folder: Path) -> list[str]:
    """Put the files that a page shows where their first lines say, modules into a copy of the package.

    Returns the page's other Python if it shows a module, since commands may need the data that it writes.
    """
    text = (ROOT / FILES_OF.get(page, page)).read_text()
    files = {block[1]: block[0].split("\n", 1)[1].removesuffix("```") for block in PLACED.finditer(text)}
    modules = any(name.endswith(".py") for name in files)
    if modules:
        hidden = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "weit_rl", folder / "weit_rl", ignore=hidden)
        for name in ("envs", "agents", "configs"):
            shutil.copytree(ROOT / name, folder / "weit_rl" / name, ignore=hidden)
    for name, content in files.items():
        place = folder / (f"weit_rl/{name}" if name.startswith("envs/") else name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return PYTHON.findall(text) if modules else []


def attempt(command: str, page: Path, clone: Path, fixtures: Fixtures) -> Outcome:
    """Run one command in the folder of its page, or in the clone; or check its options alone."""
    verb, words = (found[1], shlex.split(found[2], comments=True)) if (found := VERB.search(command)) else ("", [])
    if reason := next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command)), ""):
        try:
            if verb and not any(word.startswith(("-", "hydra")) for word in words):
                compose(verb, words)
        except UserError as error:
            return Outcome("failed", str(error))
        return Outcome("not run", reason)
    env = re.search(r"\benv=\[?([^\s,\]]+)", command)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            fixtures.put(command, env[1] if env else "HalfCheetah", page)
    except Exception as error:
        return Outcome("failed", f"docs_fixtures.py: {error!r}")
    word = next((word for pattern, word in APPENDED.items() if re.search(pattern, command)), "")
    more = shlex.join(cut(verb, words)) if verb else word
    outcome = run(f"{re.sub(' +#.*', '', command)} {more}".strip(), clone if OF_CLONE.match(command) else page)
    return Outcome("ok", f"run with {word}") if word and outcome.what == "ok" else outcome


def run(command: str, folder: Path) -> Outcome:
    """Run a command in a shell; return ``ok``, or ``failed`` with the line that says why."""
    surroundings = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    surroundings |= {"PYTHONPATH": str(folder.parent / "site"), "MINARI_DATASETS_PATH": str(folder / "minari")}
    given: dict[str, Any] = {"cwd": folder, "env": os.environ | surroundings, "timeout": SECONDS}
    try:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, **given)
    except subprocess.TimeoutExpired:
        return Outcome("failed", f"took more than {SECONDS} seconds")
    if not done.returncode and "Traceback" not in done.stderr:
        return Outcome("ok")
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or [f"code {done.returncode}"]
    said = [line for line in lines if re.search("error:|not found", line)] or lines[-1:]
    return Outcome("not run" if "pip install" in said[0] else "failed", f"{said[0]} [{command}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="PAGE", help="such as docs/train.md (default: all)")
    only = parser.parse_args().only
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="docs") as temporary:
        (site := (place := Path(temporary)) / "site").mkdir()
        (site / "sitecustomize.py").write_text(EPISODES)
        shutil.copytree(ROOT, place / "clone", ignore=shutil.ignore_patterns(".*", "build", "runs", "__pycache__"))
        fixtures = Fixtures(place / "fixtures")
        for page in (page for page in PAGES if not only or str(page.relative_to(ROOT)) in only):
            name = str(page.relative_to(ROOT))
            (folder := place / name.replace("/", "-")).mkdir()
            for number, snippet in enumerate(put_files(name, folder)):
                (folder / f"snippet{number}.py").write_text(snippet)
                counts[told(name, f"snippet{number}", run(f"python snippet{number}.py", folder))] += 1
            for line, command in commands(page.read_text()):
                counts[told(f"{name}:{line}", command, attempt(command, folder, place / "clone", fixtures))] += 1
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    sys.exit(bool(counts["failed"]))


def told(where: str, command: str, outcome: Outcome) -> str:
    """Print a command's line; return how it ended."""
    print(f"{outcome.what}  {where}  {command}" + (f"\n    {outcome.why}" if outcome.why else ""), flush=True)
    return outcome.what


if __name__ == "__main__":
    main()
