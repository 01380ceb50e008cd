"""``python -m weit_rl`` and ``weit-rl``: list the commands, or run one, ``weit-rl train size=tiny``."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from typing import NoReturn

from weit_rl.common.output import print_error, print_line
from weit_rl.common.registry import unknown_name_error

COMMANDS = {
    "train": "train a policy of any size, starting from a bank of templates",
    "pretrain": "make a bank of templates",
    "evaluate": "score a finished run, film it, or compare runs",
    "collect": "make, record, render or inspect behaviour data",
    "export": "write a policy as one file that runs without torch",
    "benchmark": "compare ways to make a network of a new size",
    "vision": "the same for networks of images: mode=train, pretrain, evaluate, sample, export, describe",
}
SHELL = {"-sc", "--shell-completion"}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the first word names, as ``python -m weit_rl.COMMAND`` does; list all without words.

    Args:
        argv: the words (default: those of this process).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in SHELL:
        _complete(words)
    if not words or words[0] in ("-h", "--help"):
        print_line(listing())
        sys.exit(0)
    if words[0] not in COMMANDS:
        print_error(f"weit_rl: error: {unknown_name_error('command', words[0], list(COMMANDS))}")
        sys.exit(2)
    sys.argv = [sys.argv[0], *words[1:]]
    runpy.run_module(f"weit_rl.{words[0]}", run_name="__main__", alter_sys=True)
    sys.exit(0)


def listing() -> str:
    """Return a line for each command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, about in COMMANDS.items()]
    usage = "usage: weit-rl COMMAND [option=value ...]   (or python -m weit_rl.COMMAND)"
    return "\n".join([usage, "", *lines, "", "weit-rl COMMAND --help lists the options of one."])


def _complete(words: Sequence[str]) -> NoReturn:
    """Answer a shell that completes a line: names of commands, or what Hydra knows of the options of one."""
    from weit_rl.options.command import command

    line = os.environ.get("COMP_LINE", "")
    program, *rest = line.split() or [""]
    asked = any(word.startswith("query=") for word in words)
    if asked and (not rest or (len(rest) == 1 and not line.endswith(" "))):
        print_line(*(name for name in COMMANDS if name.startswith(rest[0] if rest else "")))
        sys.exit(0)
    if asked and rest[0] not in COMMANDS:
        sys.exit(0)
    name = rest[0] if asked else "train"  # installing is the same for all
    os.environ["COMP_LINE"] = line.replace(f"{program} {name}", program, 1)
    command(name, lambda cfg: None, words)


if __name__ == "__main__":
    main()
