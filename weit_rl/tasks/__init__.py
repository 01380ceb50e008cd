"""Tasks: what a network is trained for. One file each; a new one adds itself with a line ``TASKS.add(...)``.

A package of its own adds one through an entry point of the group ``weit_rl.tasks``, of the task's name, that points to
a :class:`Kind`.
"""

from weit_rl.tasks.registry import TASKS, Kind, Measure, Metrics, Task, kind_named, kind_of

__all__ = ["TASKS", "Kind", "Measure", "Metrics", "Task", "kind_named", "kind_of"]
