"""Watching a stage: progress bar, metrics, validation on the way, the best network so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.storage.tensor_file import newest, read_card
from weit_rl.training.bad_batch import write_batch
from weit_rl.training.flops import Flops, step_flops
from weit_rl.training.loop import NotFinite, Recipe, fit
from weit_rl.training.progress import Progress
from weit_rl.training.run_folder import RunFolder

LOG_EVERY, BESIDE = 10, "beside/flops"
BAD_BATCH = "bad_batch.safetensors"


class Monitor:
    """Runs stages through the shared loop and keeps the run folder up to date.

    Args:
        run: the run's folder.
        tasks: whose losses are minimised.
        validate: called with the global step when a validation is due.
    """

    def __init__(self, run: RunFolder, tasks: Sequence[Any] = (), validate: Callable[[int], None] = lambda step: None):
        self.run, self.tasks, self.validate, self._beside = run, tasks, validate, Flops()
        run.devices.share(tasks)
        earlier = run.metrics().get("time/seconds", [(0, 0.0)])
        self._began = time.monotonic() - earlier[-1][1]

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between a stop and a resume."""
        return time.monotonic() - self._began

    @property
    def flops(self) -> float:
        """FLOPs of the stages that are finished, by counting single steps."""
        return sum(values[-1][1] for name, values in self.run.metrics().items() if name.endswith("/flops"))

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Log the FLOPs of what an initialiser does inside, but for stages; a resumed run does not log them twice."""
        with self._beside.counted():
            yield
        if self._beside.total and BESIDE not in self.run.metrics():
            self.run.log(0, {BESIDE: self._beside.total})

    def stage(
        self,
        name: str,
        offset: int,
        module: Any,
        loss: Any,
        recipe: Recipe,
        groups: Any = None,
        every: int | None = None,
        probes: int = 1,
        span: tuple[int, int] | None = None,
        warm: Any = None,
        after: Callable[[], None] = lambda: None,
    ) -> Any:
        """Fit one stage.

        Args:
            name: of the stage.
            offset: global steps that went before.
            module: what is trained.
            loss: of a step.
            recipe: steps and rates.
            groups: of the optimiser.
            every: steps between two validations; None for none.
            probes: steps whose FLOPs are counted, before it begins; more than 1 where steps differ.
            span: the steps of the recipe that are done now (default: all).
            warm: fills the optimiser before the first step.
            after: called after every step, before anything else.
        """
        if recipe.steps == 0:
            return module
        begin, end = span or (0, recipe.steps)
        checkpoint = self.run.checkpoint_path(f"{name}_state")
        start = read_card(done)["step"] if (done := newest(checkpoint)) else begin
        with self._beside.paused(), Progress(end, f"{name} stage", start) as bar:
            with self.run.devices.divided():
                flops = (end - begin) * self.run.devices.count * step_flops(module, loss, min(probes, recipe.steps))

            def on_step(step: int, value: float) -> None:
                after()
                bar.update(step, loss=value)
                if step % LOG_EVERY == 0 or step == end:
                    self.run.log(offset + step, {f"{name}/loss": value, "time/seconds": self.seconds})
                if step == end:
                    self.run.log(offset + step, {f"{name}/flops": flops})
                if every and step % every == 0 and step < recipe.steps:
                    self.validate(offset + step)

            try:
                return fit(module, loss, recipe, groups, on_step, checkpoint, (begin, end), warm, self.run.devices)
            except NotFinite as error:
                if not self.run.devices.leads:
                    raise
                path = self.run.path / BAD_BATCH
                write_batch(path, self.tasks, loss, name, error.step)
                raise UserError(f"{name} stage: {error}; the batch is in {path}") from error
