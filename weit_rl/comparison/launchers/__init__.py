"""Launchers, which run the jobs of a comparison: one file each, found automatically.

A new launcher is a file that ends with ``LAUNCHERS.add(NAME, Launcher(work))``. The parameters of ``work`` after
``settings`` are its options (``launcher_options={...}``), with types and defaults.
"""

from weit_rl.comparison.launchers.registry import (
    LAUNCHERS,
    Job,
    JobResults,
    Jobs,
    JobSettings,
    Launcher,
    Work,
    launcher_of,
)

__all__ = ["LAUNCHERS", "Job", "JobResults", "JobSettings", "Jobs", "Launcher", "Work", "launcher_of"]
