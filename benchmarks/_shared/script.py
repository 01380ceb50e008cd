"""Arguments of the scripts of benchmarks, and their errors in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from weit_rl.common.errors import UserError


def add_out(parser: argparse.ArgumentParser, default: Path | None = None) -> None:
    """Add ``--out``: the folder of results, by default the benchmark's own.

    Args:
        parser: is extended.
        default: the folder (default: None, if it depends on other arguments).
    """
    parser.add_argument("--out", type=Path, default=default, help="folder of results (default: this benchmark's own)")


def add_part(parser: argparse.ArgumentParser) -> None:
    """Add ``--part NUMBER/PARTS``, which gives each of several processes its share of the cells."""
    help = "run every PARTS-th cell only, from cell NUMBER on (default: all cells)"
    parser.add_argument("--part", default="0/1", type=_part, metavar="NUMBER/PARTS", help=help)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help shows a module's docstring as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_script(main: Callable[[], None]) -> None:
    """Call a script's main function; print a user's error in one line and exit with code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _part(text: str) -> tuple[int, int]:
    number, parts = map(int, text.split("/"))
    if not 0 <= number < parts:
        raise ValueError(text)
    return number, parts
