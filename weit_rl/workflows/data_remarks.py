"""Print what a user should know about a run's data before it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weit_rl.common.output import print_line
from weit_rl.core.bank import TemplateBank
from weit_rl.data.constant_columns import spans
from weit_rl.tasks import Task
from weit_rl.training.run_folder import RunFolder


def print_remarks(
    run: RunFolder, tasks: Sequence[Task], bank: TemplateBank | None = None, unused: str | list[str] | None = None
) -> None:
    """Print one line for every remark, in the process that leads.

    Args:
        run: the run's folder.
        tasks: the tasks whose data are used; a task may have a method ``remarks``.
        bank: the bank that the run starts from, as a bank of the first task (default None).
        unused: the data of a run that takes no step (default None: the run trains on its data).
    """
    remarks = [line for task in tasks for line in getattr(task, "remarks", list)()]
    renewed = bank.card.get("renewed_columns", []) if bank else []
    if renewed:
        remarks.append(f"columns {spans(renewed)} never moved in the bank's data: they are scaled by this run's data")
    if bank and unused is not None:
        remarks += other_data(bank.card, unused)
    for line in remarks if run.devices.leads else []:
        print_line(line)


def other_data(card: Mapping[str, Any], data: Any) -> list[str]:
    """Return a line about a bank's network that is used without a step, if the bank was made with other data."""
    made_with = card.get("config", {}).get("data")
    known = made_with is None or data in (made_with if isinstance(made_with, list) else [made_with])
    return [] if known else [f"no step is taken: this is the bank's policy, which was not trained on data={data}"]
