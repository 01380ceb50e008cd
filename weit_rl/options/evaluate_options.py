"""The options of ``weit_rl.evaluate``."""

from __future__ import annotations

from dataclasses import dataclass

from weit_rl.options.option_fields import Options, Texts, option


@dataclass
class EvaluateOptions(Options):
    """Options of ``python -m weit_rl.evaluate``.

    Score a finished run in its environment, film it, or compare runs.
    """

    run: str | None = option(None, "run folder, as printed by weit_rl.train")
    compare: Texts | None = option(
        None,
        "instead of run: two or more run folders, [RUN, RUN], for a table and curves of what they recorded",
    )
    checkpoint: str = option("best", "which of a run's checkpoints: best (on validation episodes) or last")
    episodes: int = option(100, "test episodes")
    fresh: bool = option(
        False,
        "compare: also play the same new episodes with every run, for paired differences with the first one",
    )
    out: str | None = option(None, "compare: folder to write into (null: runs/comparison-TIME)")
    target_return: float | None = option(None, "return asked of the policy (null: the checkpoint's own)")
    video: bool = option(
        False,
        "also write an mp4 and a contact sheet of one episode into the run folder, and show them in TensorBoard",
    )
    seed: int = option(0, "seed of the environments")
    env: str | None = option(
        None,
        "of runs of an environment gym:MODULE:ID: its name, if you trust the module, which is imported; of runs of "
        "several tasks: the one to evaluate (null: all)",
    )
    device: str = option("auto", "cpu, cuda, or auto: cuda if there is one")
