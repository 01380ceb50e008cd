"""Run the stages of a run: progress bar, metrics, validations, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from weit_rl.common.errors import UserError
from weit_rl.storage.tensor_file import newest_whole_file, read_card
from weit_rl.tasks import Task
from weit_rl.training.bad_batch import write_batch
from weit_rl.training.flops import Flops, step_flops
from weit_rl.training.loop import NotFinite, OptimizerRecipe, fit
from weit_rl.training.progress import Progress
from weit_rl.training.run_folder import RunFolder

LOG_EVERY = 10  # steps
BESIDE = "beside/flops"
BAD_BATCH = "bad_batch.safetensors"


@dataclass(frozen=True)
class Stage:
    """Optimiser steps of a run that one recipe describes.

    Attributes:
        name: of its checkpoint and its metrics.
        module: what is trained.
        loss: computes the loss of a step.
        recipe: steps and learning rates.
        offset: global steps before this stage (default 0).
        groups: parameter groups of the optimiser (default None: one group of all trainable parameters).
        span: first step and last step + 1 to do now (default None: all of the recipe).
        validate_every: steps between two validations (default None: no validation).
        probes: first steps whose mean FLOPs count for every step; more than 1 if steps differ (default 1).
        fill: fills the optimiser's state before the first step (default None).
        after_step: called after every step, before anything is logged (default None).
    """

    name: str
    module: nn.Module
    loss: Callable[[int], Tensor]
    recipe: OptimizerRecipe
    offset: int = 0
    groups: list[dict[str, Any]] | None = None
    span: tuple[int, int] | None = None
    validate_every: int | None = None
    probes: int = 1
    fill: Callable[[Optimizer], None] | None = None
    after_step: Callable[[], None] | None = None

    @property
    def steps(self) -> tuple[int, int]:
        """First step and last step + 1."""
        return self.span or (0, self.recipe.steps)

    def validates_at(self, step: int) -> bool:
        """Return True if a validation is due after ``step`` steps; the end of the recipe has its own."""
        return bool(self.validate_every) and step % (self.validate_every or 1) == 0 and step < self.recipe.steps


class Monitor:
    """A loop over stages that records them in the run folder.

    Args:
        run: the run's folder.
        tasks: the tasks whose losses are minimised (default: none).
        validate: called with the global step when a validation is due (default: does nothing).
    """

    def __init__(self, run: RunFolder, tasks: Sequence[Task] = (), validate: Callable[[int], None] = lambda step: None):
        self.run, self.tasks, self.validate, self._beside = run, tasks, validate, Flops()
        earlier = run.metrics().get("time/seconds", [(0, 0.0)])
        self._began = time.monotonic() - earlier[-1][1]

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between a stop and a resume."""
        return time.monotonic() - self._began

    @property
    def flops(self) -> float:
        """FLOPs of all finished stages; every stage counts a few steps and multiplies."""
        return sum(values[-1][1] for name, values in self.run.metrics().items() if name.endswith("/flops"))

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Log the FLOPs of an initialiser's own work; stages inside log theirs. A resumed run logs them once."""
        with self._beside.counted():
            yield
        if self._beside.total and BESIDE not in self.run.metrics():
            self.run.log(0, {BESIDE: self._beside.total})

    def fit(self, stage: Stage) -> nn.Module:
        """Train the module of a stage, from its checkpoint if there is one.

        Args:
            stage: what to train, and how.

        Returns:
            The module of the stage, trained.

        Raises:
            UserError: if the loss or its gradient is not finite; the batch is then kept in ``bad_batch.safetensors``.
            Interrupted: on SIGINT or SIGTERM, after saving a checkpoint.
        """
        if stage.recipe.steps == 0:
            return stage.module
        begin, end = stage.steps
        checkpoint = self.run.checkpoint_path(f"{stage.name}_state")
        start = read_card(done)["step"] if (done := newest_whole_file(checkpoint)) else begin
        with self._beside.paused(), Progress(end, f"{stage.name} stage", start) as bar:
            flops = self._flops(stage)

            def on_step(step: int, value: float) -> None:
                if stage.after_step:
                    stage.after_step()
                bar.update(step, loss=value)
                self._record(stage, step, value, flops)

            how = (stage.recipe, stage.groups, on_step, checkpoint, (begin, end), stage.fill, self.run.devices)
            try:
                return fit(stage.module, stage.loss, *how)
            except NotFinite as error:
                if not self.run.devices.leads:
                    raise
                raise UserError(f"{stage.name} stage: {error}; the batch is in {self._keep(stage, error)}") from error

    def _flops(self, stage: Stage) -> float:
        """Count the FLOPs of a stage in all processes."""
        begin, end = stage.steps
        with self.run.devices.sharding():
            one = step_flops(stage.module, stage.loss, min(stage.probes, stage.recipe.steps))
        return (end - begin) * self.run.devices.count * one

    def _record(self, stage: Stage, step: int, value: float, flops: float) -> None:
        """Log a step, and validate if it is due."""
        last = step == stage.steps[1]
        if step % LOG_EVERY == 0 or last:
            self.run.log(stage.offset + step, {f"{stage.name}/loss": value, "time/seconds": self.seconds})
        if last:
            self.run.log(stage.offset + step, {f"{stage.name}/flops": flops})
        if stage.validates_at(step):
            self.validate(stage.offset + step)

    def _keep(self, stage: Stage, error: NotFinite) -> Path:
        """Write the batch whose loss is not finite; returns the file."""
        path = self.run.path / BAD_BATCH
        write_batch(path, self.tasks, stage.loss, stage.name, error.step)
        return path
