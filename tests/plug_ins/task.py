"""A task in one file: classification under another name."""

from weit_rl.tasks import Measure, TaskEntry, task_entry

NAME = __name__.rpartition(".")[2]


def make(cfg, tile=16):
    """Make the task of a config."""
    task = task_entry("classification").make(cfg, tile)
    task.name = NAME
    return task


def prepare(cfg):
    """Complete a config as classification does."""
    task_entry("classification").prepare(cfg)


MEMBER = TaskEntry(make, lambda cfg: NAME, Measure(("accuracy", "top5"), "accuracy"), prepare=prepare)
