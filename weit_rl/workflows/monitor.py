"""Watching a stage: progress bar, metrics, validation on the way, the best network so far."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weit_rl.command import compose
from weit_rl.errors import Interrupted, UserError
from weit_rl.tensorfile import read_card, read_tensors
from weit_rl.training.loop import Recipe, fit
from weit_rl.training.progress import Progress
from weit_rl.training.run_folder import RunFolder

LOG_EVERY = 10


class Monitor:
    """Runs stages through the shared loop and keeps the run folder up to date.

    Args:
        run: the run's folder.
        validate: called with the global step when a validation is due.
    """

    def __init__(self, run: RunFolder, validate: Callable[[int], None] = lambda step: None):
        self.run, self.validate = run, validate
        earlier = run.metrics().get("time/seconds", [(0, 0.0)])
        self._began = time.monotonic() - earlier[-1][1]

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between a stop and a resume."""
        return time.monotonic() - self._began

    def stage(
        self,
        name: str,
        offset: int,
        module: Any,
        loss: Any,
        recipe: Recipe,
        groups: Any = None,
        every: int | None = None,
    ) -> Any:
        """Fit one stage; ``offset`` global steps went before, ``every`` steps a validation is due."""
        checkpoint = self.run.checkpoint_path(f"{name}_state")
        start = read_card(checkpoint)["step"] if checkpoint.exists() else 0
        with Progress(recipe.steps, f"{name} stage", start) as bar:

            def on_step(step: int, value: float) -> None:
                bar.update(step, loss=value)
                if step % LOG_EVERY == 0 or step == recipe.steps:
                    self.run.log(offset + step, {f"{name}/loss": value, "time/seconds": self.seconds})
                if every and step % every == 0 and step < recipe.steps:
                    self.validate(offset + step)

            return fit(module, loss, recipe, groups, on_step, checkpoint)


def resumed_config(verb: str, cfg: Any) -> Any:
    """The config of the run that ``cfg.resume`` names; raises UserError for options it was not made with."""
    stored, default = RunFolder.open(cfg.resume).config, compose(verb)
    if set(stored) != set(default):
        raise UserError(f"resume={cfg.resume}: was not made by weit_rl.{verb}, or by another version of it")
    other = [key for key in cfg if key != "resume" and cfg[key] != default[key] and cfg[key] != stored[key]]
    if other:
        raise UserError(f"resume={cfg.resume}: goes on with its own options; leave out {', '.join(other)}")
    return stored


def last_step(run_path: Path, stages: dict[str, int]) -> int:
    """The global step a stopped run goes on from; ``stages`` gives each stage's first global step."""
    # All are read whole, so that a damaged one is found before metrics.csv is cut at that step.
    cards = {path.stem: read_tensors(path)[1] for path in sorted((run_path / "checkpoints").glob("*.safetensors"))}
    steps = [offset + cards[f"{name}_state"]["step"] for name, offset in stages.items() if f"{name}_state" in cards]
    return steps[-1] if steps else 0


class resumable:
    """Context: a stop inside becomes one line that says how to go on."""

    def __init__(self, run: RunFolder, verb: str):
        self.run, self.hint = run, f"go on with: python -m weit_rl.{verb} {shlex.quote(f'resume={run.path}')}"

    def __enter__(self) -> RunFolder:
        return self.run

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        self.run.close()
        if isinstance(error, Interrupted):
            raise Interrupted(f"{error}; {self.hint}", error.exit_code) from None
        if isinstance(error, KeyboardInterrupt | SystemExit):  # between two stages, where no loop holds signals back
            raise Interrupted(f"interrupted; {self.hint}", getattr(error, "code", 130)) from None
