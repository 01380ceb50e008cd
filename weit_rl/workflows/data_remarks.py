"""Print what a user should know about a run's data before it trains."""

from __future__ import annotations

from collections.abc import Sequence

from weit_rl.common.output import print_line
from weit_rl.core.bank import TemplateBank
from weit_rl.data.constant_columns import spans
from weit_rl.tasks import Task
from weit_rl.training.run_folder import RunFolder


def print_remarks(run: RunFolder, tasks: Sequence[Task], bank: TemplateBank | None = None) -> None:
    """Print one line for every remark, in the process that leads.

    Args:
        run: the run's folder.
        tasks: the tasks whose data are used; a task may have a method ``remarks``.
        bank: the bank that the run starts from, as a bank of the first task (default None).
    """
    remarks = [line for task in tasks for line in getattr(task, "remarks", list)()]
    renewed = bank.card.get("renewed_columns", []) if bank else []
    if renewed:
        remarks.append(f"columns {spans(renewed)} never moved in the bank's data: they are scaled by this run's data")
    for line in remarks if run.devices.leads else []:
        print_line(line)
