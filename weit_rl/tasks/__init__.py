"""Define tasks, what a network is trained for: one file per task, which registers it by ``TASKS.add(...)``.

Another package adds a task by an entry point in the group ``weit_rl.tasks``. The entry point has the task's name and
points to a :class:`Kind`.
"""

from weit_rl.tasks.registry import TASKS, Measure, Metrics, Task, TaskEntry, task_entry, task_entry_of

__all__ = ["TASKS", "Measure", "Metrics", "Task", "TaskEntry", "task_entry", "task_entry_of"]
