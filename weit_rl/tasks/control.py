"""Control bodies: train policies on offline trajectories, evaluate by the return in the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.seeds import seeded_generator
from weit_rl.common.sizes import Size
from weit_rl.core.eval_mode import eval_mode
from weit_rl.core.normaliser import LIMIT, MEAN, STD
from weit_rl.core.plan import Plan
from weit_rl.data import Trajectories, Windows
from weit_rl.data.constant_columns import spans
from weit_rl.envs.registry import EnvEntry
from weit_rl.models import MODELS
from weit_rl.models.registry import chosen_options
from weit_rl.options.choices import DEFAULT

SPLIT_SEED = 0  # the same for every run, so that all hold out the same episodes
TREMBLE = 1e-2  # smallest deviation of an observation entry of a family of tasks, as a share of the median one
SAMPLE = 512  # windows that a network runs on to record its activations
INPUTS = ("observations", "actions", "returns_to_go", "timesteps")  # of a network, in this order


@dataclass(frozen=True)
class ControlConfig:
    """Options of the control task.

    Attributes:
        model: name of a model for control in ``MODELS``.
        tile: edge of a template.
        context: time steps of a window; models of pictures choose their own number.
        batch_size: windows per step; for ``mlp``, which sees single steps, ``batch_size * context`` of these.
        seed: seed of the batches.
        target_return: return that the policy is conditioned on (None: chosen from the data).
        device: device of networks and batches.
        validation_fraction: share of the episodes held out of training; they are split before windows are cut.
        data_episodes: number of the other episodes to use, the same ones in every run (None: all).
        best_fraction: share of these to train on, those with the highest returns.
        model_options: options of the model's constructor, such as ``rtg``; others are at their defaults.
    """

    model: str = DEFAULT
    tile: int = 16
    context: int = 20
    batch_size: int = 32
    seed: int = 0
    target_return: float | None = None
    device: str = "cpu"
    validation_fraction: float = 0.1
    data_episodes: int | None = None
    best_fraction: float = 1.0
    model_options: Mapping[str, Any] = field(default_factory=dict)


class Control:
    """The task of one environment: clone its trajectories with a return-conditioned policy.

    Args:
        entry: the environment's registry entry.
        trajectories: the data.
        config: the options.

    Raises:
        UserError: if actions lie outside the environment's bounds, or one of several sets has no episode left.
    """

    def __init__(self, entry: EnvEntry, trajectories: Trajectories, config: ControlConfig):
        self.entry, self.trajectories, self.config, self.name = entry, trajectories, config, entry.name
        self.measure = "score" if entry.success else "return_mean"
        self.family = entry.family
        self.tasks: tuple[str, ...] = (entry.name,) if entry.family else ()
        if np.abs(trajectories.actions).max() > 1 + 1e-5:
            raise UserError(
                f"data of {entry.name}: actions lie outside {entry.action_box}, the environment's bounds, which the "
                "policy cannot reach; rescale them"
            )
        self.model = MODELS.get(config.model)
        self.plan: Plan = self.model.plan(config.tile)
        self.undivided = [self.name] if trajectories.episodes == 1 else []
        self.options()  # raises for one that the model lacks
        self.trajectories, training, held = self.divide()
        self._sets = training.steps_by_origin()
        if training.weights is not None and len(self._sets) < len(training.weights):
            raise UserError(
                f"data_weights={training.weights.tolist()}: one of the sets has no episode left to train on; "
                "give it more episodes, leave it out of data, or raise data_episodes or best_fraction"
            )
        steps, self._at_once = self.model.window or config.context, 1
        if self.model.without_memory:  # steps of a window are alike: a batch of single steps says more
            steps, self._at_once = 1, steps
        # Tasks of families end at success, after few steps; runs of other bodies draw as those of version 0.1 did.
        even = bool(self.family) and steps > 1
        self.windows = Windows(training, steps, config.device, even)
        self.held_windows = Windows(held, steps, config.device, even)

    @property
    def body(self) -> str:
        """Return what embedding, normaliser and head belong to: the family of tasks, or the environment."""
        return self.family or self.name

    def divide(self) -> tuple[Trajectories, Trajectories, Trajectories]:
        """Divide the episodes, as :func:`divided` does."""
        return divided(self.trajectories, self.config)

    def options(self) -> dict[str, Any]:
        """Return the model's constructor options, which checkpoints keep beside the size."""
        config = self.config
        return {
            "observation_dim": self.trajectories.observation_dim,
            "action_dim": self.trajectories.actions.shape[1],
            "context": config.context,
            "max_steps": self.entry.episode_steps,
            **({"codes": len(self.tasks)} if self.tasks else {}),
            **chosen_options(config.model, config.model_options),
        }

    def build(self, size: Size, seed: int = 0) -> nn.Module:
        """Build a fresh network; its buffers hold the data's normaliser and target return."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net: Any = self.model.make(size, **self.options())
        for name, value in zip((MEAN, STD), self.trajectories.statistics(TREMBLE if self.family else 0.0), strict=True):
            net.get_buffer(name).copy_(torch.as_tensor(value))
        if net.observation_clip is not None:
            net.observation_clip.fill_(LIMIT)
        if self.tasks:
            net.task_code.data.copy_(torch.stack([fresh_code(name, net.task_code.shape[1]) for name in self.tasks]))
        net.return_scale.fill_(self.trajectories.return_scale())
        self.settle(net)
        return net.to(self.config.device)  # type: ignore[no-any-return]

    def remarks(self) -> list[str]:
        """List what a user should know about the data before training, one line each."""
        found = []
        if still := self.trajectories.constant_columns():
            found.append(
                f"data of {self.name}: columns {spans(still)} of the observations never move; their scale is 1"
            )
        if self.undivided:
            names = ", ".join(self.undivided)
            found.append(f"data of {names}: one episode, so none is held out; the validation loss is that of training")
        if self.entry.success and self.options().get("rtg", "none") != "none":
            found.append(
                f"{self.name}: episodes end at success, so fast ones earn less; rtg=none does not ask for a return"
            )
        return found

    def settle(self, net: Any) -> None:
        """Set the target return by the run's own rule, whatever the initialiser did; the normaliser stays as it is."""
        asked = self.config.target_return
        net.target_return.fill_(self.trajectories.target_return() if asked is None else asked)

    def card(self, size: Size) -> dict[str, Any]:
        """Describe the network for a checkpoint's card: enough to build it again."""
        shape = [size.width, size.depth, size.head_dim]
        return {"model": self.config.model, "size": shape, "options": self.options(), "env": self.entry.name}

    def batch(self, step: int) -> dict[str, Tensor]:
        """Draw ``batch_size`` windows, or the single steps of as many, with the step's own seed."""
        return self.windows.sample(self._batch, self._generator(step))

    def run(self, net: Any) -> None:
        """Run a network on a sample of the training data, the same for every network and seed."""
        count = SAMPLE * self._at_once // (self.model.window or 1)  # windows of pictures are large
        batch = self.windows.sample(count, torch.Generator().manual_seed(SPLIT_SEED))
        self.predict(net, batch)

    def domains(self) -> list[Callable[[Any, int], Tensor]] | None:
        """Return one loss per mixed set, ``loss(net, step)``; None for a single set.

        A batch is divided evenly among the sets. Their weights do not count here; the caller weighs the losses.
        """
        share = max(1, self._batch // len(self._sets))

        def loss_on(steps: Tensor) -> Callable[[Any, int], Tensor]:
            def loss(net: Any, step: int) -> Tensor:
                drawn = torch.randint(len(steps), (share,), generator=self._generator(step))
                return self.loss(net, self.windows.gather(steps[drawn]))

            return loss

        return [loss_on(torch.from_numpy(steps)) for steps in self._sets] if len(self._sets) > 1 else None

    @property
    def _batch(self) -> int:
        """Return the number of windows of a batch."""
        return self.config.batch_size * self._at_once

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)

    @torch.no_grad()
    def validation_loss(self, net: Any, batches: int = 10) -> float:
        """Compute the loss on held-out episodes, an action error, which does not predict the return."""
        generator = torch.Generator().manual_seed(SPLIT_SEED)
        draws = (self.held_windows.sample(self._batch, generator) for _ in range(batches))
        with eval_mode(net):
            return sum(float(self.loss(net, batch)) for batch in draws) / batches

    def loss(self, net: Any, batch: dict[str, Tensor]) -> Tensor:
        """Compute the mean squared action error over the real steps of the windows."""
        actions = self.predict(net, batch)
        return ((actions - batch["actions"]) ** 2)[batch["mask"]].mean()

    def predict(self, net: Any, batch: dict[str, Tensor]) -> Tensor:
        """Predict the actions of all steps of a batch's windows."""
        task = {"task": batch["task"]} if "task" in batch else {}
        actions: Tensor = net(*(batch[name] for name in INPUTS), **task)
        return actions

    def evaluate(self, net: nn.Module, episodes: int, seed: int, part: str = "test") -> dict[str, Any]:
        """Roll out the policy in the environment; the seed decides between validation and test, ``part`` is ignored."""
        from weit_rl.agents.evaluation import evaluate

        return evaluate(net, self.entry, episodes, seed)

    def reference(self) -> dict[str, Any]:
        """Return the returns of the data's own episodes, in the form of an evaluation."""
        return self.reference_of(self.trajectories, self.entry)

    @staticmethod
    def reference_of(trajectories: Trajectories, entry: EnvEntry) -> dict[str, Any]:
        """Return the returns of a set's episodes, in the form of an evaluation."""
        returns = trajectories.returns()
        return {
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_median": float(np.median(returns)),
            "episodes": trajectories.episodes,
            "failed_episodes": 0,
            "score": entry.score(returns.mean(), trajectories.info.get("success_rate")),
        }

    def row(self, name: str, metrics: dict[str, Any]) -> dict[str, Any]:
        """Return one row of the table of results."""
        return result_row(name, metrics, self.entry)

    def logged(self, metrics: dict[str, Any]) -> dict[str, float]:
        """Return the mean return, and the score if the environment has one."""
        values = {"return": metrics["return_mean"], "score": metrics["score"]}
        values |= {"success": metrics["score"]} if self.entry.success else {}
        return {name: value for name, value in values.items() if value is not None}


def divided(trajectories: Trajectories, config: ControlConfig) -> tuple[Trajectories, Trajectories, Trajectories]:
    """Divide a data set: the episodes that there are to learn from, those of them that are used, and held-out ones.

    A single episode is all three.
    """
    known = training = held = trajectories
    if trajectories.episodes > 1:
        training, held = trajectories.split(config.validation_fraction, SPLIT_SEED)
    if config.data_episodes is not None:
        known = training = training.drawn(config.data_episodes, SPLIT_SEED)
    return known, training.best(config.best_fraction), held


def fresh_code(task: str, numbers: int) -> Tensor:
    """Draw the untrained code of a task, signs that its name alone decides."""
    return torch.randn(numbers, generator=seeded_generator(f"code of {task}", 0)).sign()


def result_row(name: str, metrics: dict[str, Any], entry: EnvEntry) -> dict[str, Any]:
    """Return one row of a table of returns."""
    failed = metrics.get("failed_episodes")
    return {
        "": name,
        "return": metrics["return_mean"],
        "+-": metrics["return_std"],
        "episodes": f"{metrics['episodes']} ({failed} failed)" if failed else metrics["episodes"],
        entry.score_name: metrics["score"],
    }
