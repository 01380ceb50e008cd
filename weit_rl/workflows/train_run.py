"""Train a network of any size: initialise it, train it, score it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from weit_rl.common.output import print_line
from weit_rl.common.sizes import Size
from weit_rl.core.growing import Segment, rescale_optimizer, rescale_state
from weit_rl.initializers import Context
from weit_rl.options.image_training_options import TrainingOptions
from weit_rl.storage.tensor_file import newest_whole_file, read_tensors
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.ema import AveragedNetwork
from weit_rl.training.loop import OptimizerRecipe
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.data_remarks import print_remarks
from weit_rl.workflows.run_scores import Scores
from weit_rl.workflows.stage_monitor import Monitor, Stage
from weit_rl.workflows.train_setup import read_setup

FINAL = ("score", "flops", "seconds", "validation_loss")  # numbers that TensorBoard's HPARAMS tab shows
Loss = Callable[[int], Tensor]
Groups = list[dict[str, Any]] | None
LOSS_BATCHES = 50  # held-out batches of the last validation loss


class TrainRun:
    """A training run: its constructor reads and checks the config and builds, calling it trains.

    Args:
        cfg: the composed config of ``weit_rl.train``.

    Attributes:
        setup: what the config says.
        task: the task; several processes see shards of its batches.
        size: the size of the network now.
        net: the plain network now.
        stages: the global step at which each stage begins.
        free_bytes: disk space that the run needs.

    Raises:
        UserError: for anything in the config that cannot work.
    """

    result = "evaluation.json"

    def __init__(self, cfg: TrainingOptions):
        self.cfg, self.setup = cfg, read_setup(cfg)
        self._build()
        self._check()

    def _build(self) -> None:
        """Build the untrained network, and note what the run needs."""
        setup = self.setup
        self.task, self.bank, self.size = setup.task, setup.bank, setup.size
        self.net = setup.network()
        self.trained = self.net  # under fsdp a sharded copy of it while it is trained
        self.averaged: AveragedNetwork | None = None
        self.stages, self.free_bytes = setup.stages, setup.free_bytes()

    def _check(self) -> None:
        """Check that the initialiser can make this network; only a try shows if its options are good."""
        self.setup.initializer.check(self.setup.source, self.net, self.task.plan)
        if self.cfg.init_options:
            self.begun()

    def __call__(self, run: RunFolder) -> dict[str, Any]:
        """Initialise, train and score the network.

        Args:
            run: the run's folder, which gets every file.

        Returns:
            What evaluation.json holds; nothing in processes that do not lead.
        """
        self.task = run.devices.shard_task(self.setup.task)
        scores = Scores(run, self.task, self.cfg)
        monitor = Monitor(run, [self.task], lambda step: self.validate(scores, step))
        bank = self.setup.source.bank if self.setup.source else None
        print_remarks(run, [self.task], bank, None if self.setup.offline_steps else self.cfg.data)
        self.start(run, monitor)
        self.train(monitor)
        if not run.devices.leads:
            return {}
        if self.setup.train_steps:
            monitor.validate(self.setup.offline_steps)
        save_network(run.checkpoint_path("last"), self.net, self.card())
        return self.finish(run, monitor, scores)

    @property
    def scored_network(self) -> nn.Module:
        """The network that is scored and kept: the average of the weights, if the run keeps one."""
        return self.averaged.average if self.averaged else self.net

    def start(self, run: RunFolder, monitor: Monitor) -> None:
        """Initialise the network; a resumed run, and processes that do not lead, read the file of the one that did."""
        path = run.checkpoint_path("start")
        if not path.exists():
            self.initialize(monitor)
            if run.devices.leads:
                save_network(path, self.net, self.card())
            run.devices.wait()
        self.net.load_state_dict(load_network(path)[0].state_dict())
        monitor.validate(self.setup.scaler_steps)

    def initialize(self, monitor: Monitor) -> None:
        """Run the initialiser with its own stage."""

        def fit(module: nn.Module, loss: Loss, recipe: OptimizerRecipe, groups: Groups = None) -> nn.Module:
            return monitor.fit(Stage("scaler", module, loss, recipe, groups=groups))

        context = self.context(fit)
        context.remark = print_line if monitor.run.devices.leads else context.remark
        with monitor.beside():
            self.net.load_state_dict(self.setup.make(self.setup.source, self.net, context))
        self.task.settle(self.net)

    def begun(self) -> nn.Module:
        """Make the network that the initialiser gives without a training step."""
        net = self.setup.network(self.size)
        context = self.context(lambda module, *_: module)
        context.recipe = replace(context.recipe, steps=0)
        net.load_state_dict(self.setup.make(self.setup.source, net, context))
        return net

    def context(self, fit: Callable[..., nn.Module]) -> Context:
        """Collect what the initialiser may use.

        Args:
            fit: trains a module in the initialiser's own stage: ``fit(module, loss, recipe, groups)``.
        """
        return Context(
            plan=self.task.plan,
            loss=lambda net, step: self.task.loss(net, self.task.batch(step)),
            fit=fit,
            recipe=self.setup.recipe("scaler"),
            near_lr=self.task.model.near_lr,
            head_dim=self.size.head_dim,
            seed=self.cfg.seed,
            domains=self.task.domains(),
            build=self.task.build,
            run=self.task.run,
        )

    def train(self, monitor: Monitor) -> None:
        """Train the plain network, each segment at its size; afterwards the network is the average, if there is one."""
        if self.setup.ema:
            self.averaged = AveragedNetwork(self.net, self.setup.ema)
        fill, before = None, ""
        for segment in self.setup.segments:
            if segment.first:
                fill = self.rescale(segment.size, monitor.run, f"{before}_state")
            self.trained = monitor.run.devices.shard_network(self.net)
            monitor.fit(self.stage(segment, fill))
            monitor.run.devices.gather(self.trained, self.net)
            self.trained, before = self.net, segment.name
        self.net = self.scored_network

    def stage(self, segment: Segment, fill: Callable[[Optimizer], None] | None) -> Stage:
        """Describe the training of one segment; ``fill`` gives the optimiser the state of the segment before."""
        return Stage(
            segment.name,
            self.averaged or self.trained,
            self.loss,
            self.setup.recipe("train"),
            offset=self.setup.scaler_steps,
            span=(segment.first, segment.last),
            validate_every=self.cfg.evaluate_every or max(1, self.setup.train_steps // 3),
            fill=fill,
            after_step=self.averaged.update if self.averaged else None,
        )

    def loss(self, step: int) -> Tensor:
        """Compute the plain network's loss on the batch of a training step."""
        return self.task.loss(self.trained, self.task.batch(self.setup.scaler_steps + step))

    def rescale(self, size: Size, run: RunFolder, state_name: str) -> Callable[[Optimizer], None]:
        """Replace the network by one of another size; returns what gives an optimiser the rescaled moments."""
        target, state = self.setup.network(size), run.checkpoint_path(state_name)
        moments = rescale_optimizer(
            read_tensors(newest_whole_file(state) or state)[0], self.net, target, self.task.plan
        )
        target.load_state_dict(rescale_state(self.net, target, self.task.plan, self.cfg.seed))
        self.net = self.trained = target
        self.size = size
        return lambda optimizer: run.devices.fill_optimizer(optimizer, moments)

    def validate(self, scores: Scores, step: int) -> None:
        """Score the network as it is now, in the process that leads."""
        devices = scores.run.devices
        devices.gather(self.trained, self.net)
        if devices.leads:
            scores.validate(self.scored_network, self.card(), step)

    def finish(self, run: RunFolder, monitor: Monitor, scores: Scores) -> dict[str, Any]:
        """Test the network, and write evaluation.json, the learning curve and the table."""
        results, reference, measure = scores.test(self.net), self.task.reference(), self.task.measure
        report = {**results["last"], **self.facts(), "flops": monitor.flops, "seconds": round(monitor.seconds, 1)}
        report |= {"best": results.get("best"), "behaviour": reference}
        report["validation_loss"] = self.task.validation_loss(self.net, batches=LOSS_BATCHES)
        run.plot_learning_curve(self.stages, reference[measure] if reference else None)
        final = {name: report.get(name) for name in (measure, *FINAL)}
        run.log_hparams(final | {"steps": self.setup.offline_steps})
        run.write_json(self.result, report)  # last: a run with this file is finished
        scores.show(results, f"{self.task.name} {self.size}, init {self.cfg.init}")
        print_line(f"run folder: {run.path}")
        return report | {"run_dir": str(run.path)}

    def card(self) -> dict[str, Any]:
        """Describe the network for a checkpoint's card."""
        return self.task.card(self.size) | {"init": self.cfg.init}

    def facts(self) -> dict[str, Any]:
        """Describe the run for evaluation.json, which has the metrics beside."""
        return {
            **{key: value for key, value in self.task.card(self.size).items() if key != "options"},
            "size": str(self.size),
            "width": self.size.width,
            "depth": self.size.depth,
            "init": self.cfg.init,
            "scaler_steps": self.setup.scaler_steps,
            "train_steps": self.setup.train_steps,
            "seed": self.cfg.seed,
            "parameters": sum(p.numel() for p in self.net.parameters()),
        }
