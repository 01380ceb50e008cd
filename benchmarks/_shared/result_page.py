"""The head of a result: its title, the command that wrote it, and the machine."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import torch


def heading(title: str, command: str, threads: int) -> str:
    """Return the first lines of a result: title, command, processor and version of torch."""
    machine = f"{platform.machine()}, torch {torch.__version__}, {threads} thread{'s' * (threads > 1)}"
    return f"# {title}\n\n    {command}\n\n{machine}\n"


def with_command(text: str, command: str) -> str:
    """Insert the command that wrote a table below its first heading."""
    title, _, rest = text.partition("\n")
    return f"{title}\n\n    {command}\n{rest}"


def add_command(folder: Path) -> None:
    """Insert the command of a folder's ``run.sh`` into its ``README.md``, unless it is there."""
    page, command = folder / "README.md", f"bash {folder.as_posix()}/run.sh"
    text = page.read_text()
    if command not in text:
        page.write_text(with_command(text, command))


if __name__ == "__main__":
    add_command(Path(sys.argv[1]))
