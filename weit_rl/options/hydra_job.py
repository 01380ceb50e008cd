"""Make one run of ``-m``, record its report, and print all reports as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weit_rl.common.errors import Interrupted, UserError
from weit_rl.common.output import print_line
from weit_rl.options.option_fields import Options
from weit_rl.options.option_table import options
from weit_rl.options.words import read_config
from weit_rl.storage.atomic_write import write_atomically

if TYPE_CHECKING:
    from omegaconf import DictConfig

RECORD = "job.json"  # in the folder of every run
MOST_COLUMNS = 6  # of the table, beside those of what was asked


class Stopped(KeyboardInterrupt):
    """The end of a run by Ctrl-C or SIGTERM, after which no further run begins; Hydra would go on after an error."""

    def __init__(self, stop: Interrupted):
        super().__init__(str(stop))
        self.stop = stop


class Job:
    """The function that Hydra calls for every run, perhaps in another process.

    Args:
        verb: of the command.
        name: of its options in ``VERBS``.
        main: does the work, given the options.
        check: looks at the options before that.
    """

    def __init__(
        self, verb: str, name: str, main: Callable[[Any], Any], check: Callable[[str, Any], None] = lambda *_: None
    ):
        self.verb, self.name, self.main, self.check = verb, name, main, check

    def __call__(self, config: DictConfig) -> float | None:
        """Run; returns the first number of the report, which a sweeper may look at, or NaN where bad input ended it."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        hydra = HydraConfig.get()
        folder, number, asked = Path(hydra.runtime.output_dir), int(hydra.job.num), list(hydra.overrides.task)
        print_line(f"run {number}: {' '.join(asked)}")
        record: dict[str, Any] = {"run": number, "asked": asked}
        try:
            plain: Any = OmegaConf.to_container(config, resolve=True)
            cfg = placed(read_config(self.verb, plain, options(self.name)), folder)
            self.check(self.verb, cfg)
            record["report"] = self.main(cfg)
        except UserError as error:  # Hydra would say it in a second line, and not at the end
            record["error"] = f"run {number} ({' '.join(asked)}): {error}"
        except Interrupted as stop:
            raise Stopped(stop) from stop
        write_atomically(folder / RECORD, (json.dumps(record, indent=2, default=_plain) + "\n").encode())
        return math.nan if "error" in record else next(iter(_numbers(record["report"]).values()), None)


def placed(cfg: Options, folder: Path) -> Options:
    """Give a run that folder as its own, unless it names another or goes on with a run."""
    if "run_dir" in cfg and "out" not in cfg and cfg["run_dir"] is None and cfg.get("resume") is None:
        cfg["run_dir"] = str(folder)
    return cfg


def finished_jobs(folder: Path) -> list[dict[str, Any]]:
    """Read the records of all runs in a folder that came to an end, by their number."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob(RECORD)]
    return sorted(records, key=lambda record: int(record["run"]))


def job_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Write a line for each run: its number, what it was asked that others were not, and the numbers it reports."""
    asked = [dict(word.partition("=")[::2] for word in record["asked"]) for record in records]
    numbers = [_numbers(record.get("report")) for record in records]
    swept = [key for key in _keys(asked) if len({one.get(key) for one in asked}) > 1]
    columns = [key for key in _keys(numbers) if key not in swept and not _alike(numbers, key)][:MOST_COLUMNS]
    rows = [["run", *swept, *columns]]
    for record, words, values in zip(records, asked, numbers, strict=True):
        shown = [f"{values[key]:.5g}" if key in values else "-" for key in columns]
        rows.append([str(record["run"]), *(words.get(key, "-").strip("'") for key in swept), *shown])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _alike(rows: Sequence[Mapping[str, float]], key: str) -> bool:
    """Return True if all runs report the same number; False for the first number, which decides."""
    first = next((name for row in rows for name in row), None)
    return key != first and len(rows) > 1 and len({row.get(key) for row in rows}) == 1


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _numbers(report: Any) -> dict[str, float]:
    """Collect the numbers of a report, without those inside of its parts."""
    items = report.items() if isinstance(report, Mapping) else ()
    return {key: value for key, value in items if isinstance(value, int | float) and not isinstance(value, bool)}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
