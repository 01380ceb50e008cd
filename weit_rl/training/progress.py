"""Show progress (a live bar on a terminal, lines in a log) and print tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO, cast

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from weit_rl.common.output import stdout_behind_rich

LINE_SECONDS = 10.0
REFRESH_SECONDS = 0.2
LOG_WIDTH = 160  # characters of a line in a file or a pipe, instead of rich's 80; wider tables are written whole
BAR_WIDTH = 72  # characters that a bar with its numbers needs; narrower terminals get lines, as logs do
WIDEST = 100_000  # characters, more than any table needs


class Progress:
    """The progress of one stage, as a context manager.

        with Progress(total=300, label="scaler stage") as bar:
            bar.update(step, loss=loss)

    Args:
        total: steps of the whole stage.
        label: the stage's name.
        start: steps that were done before the stage was resumed; the speed leaves them out (default 0).
        unit: name of what is counted (default "steps").
        console: where to print (default: standard output).
    """

    def __init__(self, total: int, label: str, start: int = 0, unit: str = "steps", console: Console | None = None):
        self.total, self.label, self.start, self.step, self.unit = total, label, start, start, unit
        self.console = console or _console()
        self._values: dict[str, Any] = {}
        self._bar: Bar | None = None
        self._began = self._shown = time.monotonic()
        if self.console.is_terminal and self.console.width >= BAR_WIDTH:
            columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}")]
            self._bar = Bar(*columns, console=self.console, auto_refresh=False)
            self._task = self._bar.add_task(label, total=total, completed=start, facts=self.facts())

    def __enter__(self) -> Progress:
        self._began = self._shown = time.monotonic()
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._show()
        if self._bar:
            self._bar.stop()

    def update(self, step: int, **values: Any) -> None:
        """Note that ``step`` steps are done, and the numbers to show; cheap, since most calls print nothing."""
        self.step, self._values = step, values
        now = time.monotonic()
        if now - self._shown >= (REFRESH_SECONDS if self._bar else LINE_SECONDS):
            self._shown = now
            self._show()

    def facts(self) -> str:
        """Return one line with step, numbers, speed and time left."""
        parts = [f"{self.step}/{self.total}"]
        parts += [f"{name} {_text(float(value), 4)}" for name, value in self._values.items()]
        done, seconds = self.step - self.start, time.monotonic() - self._began
        if done > 0 and seconds > 0:
            parts += [
                f"{_text(done / seconds, 3)} {self.unit}/s",
                f"{_clock(max(0, self.total - self.step) * seconds / done)} left",
            ]
        return "  ".join(parts)

    def _show(self) -> None:
        if self._bar:
            self._bar.update(self._task, completed=self.step, facts=self.facts(), refresh=True)
        else:
            self.console.print(f"{self.label}  {self.facts()}", soft_wrap=True, markup=False)


def print_table(title: str, rows: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print a small table.

    A table wider than the terminal is printed as blocks of ``name: value`` lines, so that nothing is cut.

        table("HalfCheetah", [{"": "last", "return": 8120.3}, {"": "behaviour data", "return": 9132.0}])

    Args:
        title: the line above the table.
        rows: one mapping per row; the keys of the first one name the columns.
        console: where to print (default: standard output).
    """
    console = console or _console()
    grid = _grid(rows)
    width = Measurement.get(console, console.options.update(max_width=WIDEST), grid).maximum
    if not console.is_terminal:
        console.width = max(width, console.width)
    console.print(
        f"\n{title}", soft_wrap=True, markup=False
    )  # rich would wrap the table's own title at the table's width
    console.print(grid) if width <= console.width else console.print(_stacked(rows), soft_wrap=True, markup=False)


def _console() -> Console:
    out = stdout_behind_rich()
    return Console(file=cast(TextIO, out), highlight=False, width=None if out.isatty() else LOG_WIDTH)


def _grid(rows: Sequence[Mapping[str, Any]]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD)
    for name, value in rows[0].items():
        grid.add_column(name, justify="left" if isinstance(value, str) else "right", no_wrap=True)
    for row in rows:
        # Text: in a str, rich reads the brackets of a path as markup
        grid.add_row(*(Text(_cell(value)) for value in row.values()))
    return grid


def _stacked(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as blocks of lines; the value of a column without a name is the first line of its block."""
    blocks = [{name: _cell(value) for name, value in row.items()} for row in rows]
    lines = ["\n".join(f"{name}: {value}" if name else value for name, value in block.items()) for block in blocks]
    return "\n" + "\n\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:  # unknown
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


def _text(value: float, digits: int) -> str:
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
