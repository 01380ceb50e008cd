"""Train a network of any size: the initialiser's own stage, then the plain network, then the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.output import say
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.growing import Segment, rescaled, rescaled_optimizer, segments
from weit_rl.initializers import INITIALIZERS, Context, Initializer, Source, with_options
from weit_rl.options.choices import size_of
from weit_rl.options.image_training_options import TrainingOptions
from weit_rl.storage.tensor_file import newest, read_tensors
from weit_rl.tasks import kind_of
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.ema import Averaged
from weit_rl.training.loop import Recipe
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.data_remarks import remark
from weit_rl.workflows.run_scores import Scores
from weit_rl.workflows.run_setup import bank_of, bank_path, full_size, head_dim_of, same_heads, source_of
from weit_rl.workflows.source_network import card_at, network_at
from weit_rl.workflows.stage_monitor import Monitor

FINAL = ("score", "flops", "seconds", "validation_loss")  # what TensorBoard's HPARAMS tab shows
LOSS_BATCHES = 50  # of held-out windows, by which a finished network is judged beside its return


class TrainRun:
    """One run; the constructor reads and checks everything, calling it does the work.

    Args:
        cfg: the composed config of ``weit_rl.train``.
    """

    result = "evaluation.json"

    def __init__(self, cfg: TrainingOptions):
        self.cfg, self.initializer = cfg, INITIALIZERS.get(cfg.init)
        self.make = with_options(cfg.init, self.initializer, cfg.init_options)
        self.train_steps = cfg.train_steps
        self.scaler_steps = stage_steps(self.initializer, cfg.scaler_steps)
        self.task: Any = kind_of(cfg).make(cfg)  # first: with a model that cannot see this, no bank is of use
        self.bank = TemplateBank.load(bank_path(cfg)) if self.initializer.needs_source and not cfg.source else None
        self.segments = self._segments()
        self.size = self.segments[0].size
        if self.bank:
            self.task.plan = self.task.plan.with_tiles(self.bank.tiles)
        self.net: Any = self.task.build(self.size, cfg.seed)
        self.trained = self.net  # in the training stage perhaps a copy of it in parts
        self.averaged: Averaged | None = None
        self.ema = ema_of(cfg)
        self.stages = {"scaler": 0, **{segment.name: self.scaler_steps for segment in self.segments}}
        largest = max(sum(p.numel() for p in self.task.build(s.size).parameters()) for s in self.segments)
        self.free_bytes = 20_000_000 + 100 * largest  # weights, optimiser, their atomic copies
        self.source = self._source()
        self.initializer.check(self.source, self.net, self.task.plan)
        if cfg.init_options:
            self.begun()  # whether their values are good shows when they are used

    def __call__(self, run: RunFolder) -> dict[str, Any]:
        """Both stages and the final evaluation, written to ``run``."""
        scores = Scores(run, self.task, self.cfg)
        monitor = Monitor(run, [self.task], lambda step: self.validate(scores, step))
        remark(run, [self.task], self.source.bank if self.source else None)
        self.start(run, monitor)
        self.train(monitor)
        if not run.devices.leads:
            return {}
        if self.train_steps:
            monitor.validate(self.scaler_steps + self.train_steps)
        save_network(run.checkpoint_path("last"), self.net, self.card())
        return self.finish(run, monitor, scores)

    @property
    def judged(self) -> Any:
        """The network that is scored and kept."""
        return self.averaged.average if self.averaged else self.net

    def train(self, monitor: Monitor) -> None:
        """The training stage, each segment at its size; behind it the network is the average, if there is one."""
        if self.ema:
            self.averaged = Averaged(self.net, self.ema)
        every = self.cfg.evaluate_every or max(1, self.train_steps // 3)
        warm, name = None, ""
        for segment in self.segments:
            if segment.first:
                warm = self.rescale(segment.size, monitor.run, f"{name}_state")
            self.trained = monitor.run.devices.parted(self.net)
            stage = (segment.name, self.scaler_steps, self.averaged or self.trained, self.loss, self.recipe("train"))
            after = self.averaged.update if self.averaged else lambda: None
            monitor.stage(*stage, every=every, span=(segment.first, segment.last), warm=warm, after=after)
            monitor.run.devices.gather(self.trained, self.net)
            self.trained, name = self.net, segment.name
        self.net = self.judged

    def validate(self, scores: Scores, step: int) -> None:
        """Score the network as it is, in the process that leads."""
        devices = scores.run.devices
        devices.gather(self.trained, self.net)
        if devices.leads:
            scores.validate(self.judged, self.card(), step)

    def rescale(self, size: Size, run: RunFolder, state_name: str) -> Callable[[Any], None]:
        """Go on with a network of another size; returns what carries the optimiser's state over."""
        target, state = self.task.build(size, self.cfg.seed), run.checkpoint_path(state_name)
        moments = rescaled_optimizer(read_tensors(newest(state) or state)[0], self.net, target, self.task.plan)
        target.load_state_dict(rescaled(self.net, target, self.task.plan, self.cfg.seed))
        self.net = self.trained = target
        self.size = size
        return lambda optimizer: run.devices.fill(optimizer, moments)

    def start(self, run: RunFolder, monitor: Monitor) -> None:
        """Initialise the network, or read what an earlier part of this run, or the process that leads, initialised."""
        path = run.checkpoint_path("start")
        if not path.exists():
            self.initialize(monitor)
            if run.devices.leads:
                save_network(path, self.net, self.card())
            run.devices.wait()
        self.net.load_state_dict(load_network(path)[0].state_dict())
        monitor.validate(self.scaler_steps)

    def initialize(self, monitor: Monitor) -> None:
        """The initialiser's own stage."""
        context = self.context(lambda *stage: monitor.stage("scaler", 0, *stage))
        with monitor.beside():
            self.net.load_state_dict(self.make(self.source, self.net, context))
        self.task.settle(self.net)

    def begun(self) -> nn.Module:
        """What the initialiser makes without a step."""
        net = self.task.build(self.size, self.cfg.seed)
        context = self.context(lambda module, *_: module)
        context.recipe = replace(context.recipe, steps=0)
        net.load_state_dict(self.make(self.source, net, context))
        return net

    def context(self, fit: Any) -> Context:
        """What the initialiser may use; ``fit`` runs its own stage."""
        return Context(
            plan=self.task.plan,
            loss=lambda net, step: self.task.loss(net, self.task.batch(step)),
            fit=fit,
            recipe=self.recipe("scaler"),
            near_lr=self.task.model.near_lr,
            head_dim=self.size.head_dim,
            seed=self.cfg.seed,
            domains=self.task.domains(),
            build=self.task.build,
            run=self.task.run,
        )

    def loss(self, step: int) -> Any:
        """The plain network's loss on the batch of a step of the second stage."""
        return self.task.loss(self.trained, self.task.batch(self.scaler_steps + step))

    def recipe(self, stage: str) -> Recipe:
        """Steps and rates of a stage."""
        cfg = self.cfg
        steps = {"scaler": self.scaler_steps, "train": self.train_steps}[stage]
        usual = min(self.initializer.train_lr, self.task.model.most_lr)
        lr = {"scaler": cfg.scaler_lr, "train": cfg.train_lr or usual}[stage]
        return Recipe(steps, lr, cfg.weight_decay, cfg.warmup, cfg.grad_clip)

    def finish(self, run: RunFolder, monitor: Monitor, scores: Scores) -> dict[str, Any]:
        """The test, evaluation.json, the curve and the table."""
        results, reference, measure = scores.test(self.net), self.task.reference(), self.task.measure
        report = {**results["last"], **self.facts(), "flops": monitor.flops, "seconds": round(monitor.seconds, 1)}
        report |= {"best": results.get("best"), "behaviour": reference}
        report["validation_loss"] = self.task.validation_loss(self.net, batches=LOSS_BATCHES)
        run.plot_learning_curve(self.stages, reference and reference[measure])
        final = {name: report.get(name) for name in (measure, *FINAL)}
        run.log_hparams(final | {"steps": self.scaler_steps + self.train_steps})
        run.write_json(self.result, report)  # last: it tells a finished run
        scores.show(results, f"{self.task.name} {self.size}, init {self.cfg.init}")
        say(f"run folder: {run.path}")
        return report | {"run_dir": str(run.path)}

    def card(self) -> dict[str, Any]:
        """What a checkpoint says of itself."""
        return self.task.card(self.size) | {"init": self.cfg.init}

    def facts(self) -> dict[str, Any]:
        """What evaluation.json says besides the metrics."""
        return {
            **{key: value for key, value in self.task.card(self.size).items() if key != "options"},
            "size": str(self.size),
            "width": self.size.width,
            "depth": self.size.depth,
            "init": self.cfg.init,
            "scaler_steps": self.scaler_steps,
            "train_steps": self.train_steps,
            "seed": self.cfg.seed,
            "parameters": sum(p.numel() for p in self.net.parameters()),
        }

    def _segments(self) -> list[Segment]:
        begun = self.bank.card if self.bank else card_at(str(self.cfg.source)) if self.initializer.needs_source else {}
        if self.cfg.grow:
            return segments(self.cfg.grow, self.cfg.train_steps, head_dim_of(begun))
        return [Segment(0, self.cfg.train_steps, size_of(self.cfg.size, head_dim_of(begun)))]

    def _source(self) -> Source | None:
        if self.bank:
            same_heads("bank", full_size(self.bank), self.size)
            bank = bank_of(self.bank, self.task).to(self.task.config.device)
            return Source(source_of(bank, self.task), bank)
        if not self.initializer.needs_source:
            return None
        return Source(network_at(str(self.cfg.source), self.task, self.size))


def stage_steps(initializer: Initializer, asked: int | None) -> int:
    """The steps of the initialiser's own stage: none for one without a stage, its own number where none is asked."""
    if initializer.stage_steps == 0 or asked is None:
        return initializer.stage_steps
    return asked


def ema_of(cfg: TrainingOptions) -> float:
    """The decay of the average of the weights, 0 for none; UserError where it cannot be followed."""
    decay = float(cfg.get("ema", 0.0))  # control has none
    if decay and cfg.grow:
        raise UserError(f"ema={decay}: an average is of one size; leave out grow or ema")
    return decay
