"""docs/gallery.md shows pictures that are there, with commands that exist, and so does README's moving picture."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from weit_rl.options.command import compose

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "gallery.md").read_text()
COMMANDS = re.findall(r"^(?: {4})?python -m weit_rl\.(\w+) (.*)$", PAGE, re.MULTILINE)
PICTURES = [DOCS / path for path in re.findall(r"!\[.*?\]\((.*?)\)", PAGE)]


@pytest.mark.parametrize(("verb", "rest"), COMMANDS)
def test_the_commands_have_options_that_exist(verb, rest):
    assert compose(verb, shlex.split(rest))


def test_the_comparison_is_that_of_its_folder():
    (command,) = [shlex.split(rest) for verb, rest in COMMANDS if verb == "benchmark"]
    script = (DOCS.parent / "benchmarks" / "comparison" / "run.sh").read_text().replace("\\\n", " ")
    assert set(command) in [
        set(shlex.split(line)[3:]) for line in script.splitlines() if "-m weit_rl.benchmark" in line
    ]


def test_the_pictures_are_there_and_small():
    assert len(PICTURES) >= 7 and all(picture.read_bytes().startswith(b"\x89PNG") for picture in PICTURES)
    assert sum(picture.stat().st_size for picture in PICTURES) < 1_000_000
    assert set((DOCS / "gallery").iterdir()) <= set(PICTURES)


@pytest.mark.parametrize("options", [["gallery.py"], ["picture.py", "--runs", "runs"]], ids=" ".join)
def test_without_a_renderer_it_says_what_to_install_and_makes_nothing(options, tmp_path):
    words = [sys.executable, str(DOCS / options[0]), *options[1:], "--out", str(tmp_path / "out")]
    environment = {**os.environ, "MUJOCO_GL": "no-such-renderer"}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "apt-get install libosmesa6" in done.stderr and not list(tmp_path.iterdir())
