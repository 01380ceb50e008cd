"""Where the jobs of a comparison are worked on, one file each.

A new one is a file that ends with ``LAUNCHERS.add(NAME, Launcher(work))``, and its name in the import below. What
follows ``place`` in the signature of ``work`` are its options (``launcher_options={...}``), with types and defaults.
"""

from weit_rl.comparison.launchers.registry import LAUNCHERS, Job, Jobs, Launcher, Place, Results, Work, launcher_of

__all__ = ["LAUNCHERS", "Job", "Jobs", "Launcher", "Place", "Results", "Work", "launcher_of"]
