"""Fine-tune a network online, after offline training, as the actor of a Stable-Baselines3 agent."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

from torch import Tensor

from weit_rl.agents.crash_watch import CrashWatch
from weit_rl.agents.imitation import Imitation
from weit_rl.agents.online import ALGORITHMS, WarmUp, copy_actor, make_online
from weit_rl.agents.snapshots import load_training_state, save_training_state
from weit_rl.common.errors import Interrupted, UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.options.choices import ACTOR
from weit_rl.options.train_options import TrainOptions
from weit_rl.tasks.control import Control
from weit_rl.training.checkpoint import save_network
from weit_rl.training.loop import stop_signal
from weit_rl.training.progress import Progress
from weit_rl.workflows.stage_monitor import Monitor
from weit_rl.workflows.train_run import TrainRun

WARM_UP = 5000  # environment steps in which a trained actor's mean action is frozen
IMITATION = 10.0  # times TD3+BC's weight; with 1 or 3 some trained actors lose their return (64x3, seed 100)
SINGLE = 256  # steps of the data that join a batch of the algorithm
PARTS = 20  # validations; each writes the state to resume from


class OnlineRun(TrainRun):
    """A training run with ``agent=NAME``, whose last network is the agent's actor as a plain policy.

    Args:
        cfg: the composed config of ``weit_rl.train``.
    """

    cfg: TrainOptions
    task: Control

    def __init__(self, cfg: TrainOptions):
        if cfg.agent not in ALGORITHMS:
            raise unknown_name_error("agent", str(cfg.agent), list(ALGORITHMS))
        if cfg.model != ACTOR:
            raise UserError(f"agent={cfg.agent}: takes model={ACTOR}, not {cfg.model}; leave model out")
        super().__init__(cfg)

    def _build(self) -> None:
        super()._build()
        self.stages["online"] = self.setup.offline_steps

    def _check(self) -> None:
        super()._check()
        self.agent(size=str(self.size))  # only a try shows if its options are good

    def train(self, monitor: Monitor) -> None:
        """Train offline, then online."""
        super().train(monitor)
        monitor.validate(self.setup.offline_steps)
        offline, state = (monitor.run.checkpoint_path(name) for name in ("offline", "online_state"))
        if not offline.exists():
            save_network(offline, self.net, self.card())
        agent = self.agent(checkpoint=str(offline))
        load_training_state(agent, state)
        if self.imitation:
            Imitation(agent, self.imitated, self.imitation)
        self.drop_target_return()
        with Progress(self.cfg.agent_steps, f"{self.cfg.agent} online", agent.num_timesteps) as bar:
            self.learn(agent, monitor, bar)

    def agent(self, **start: str) -> Any:
        """Make the agent before its first step; an untrained actor explores as in Stable-Baselines3."""
        cfg, options = self.cfg, dict(self.cfg.agent_options)
        return make_online(str(cfg.agent), self.task.entry, cfg.n_envs, cfg.seed, options, self.untrained, **start)

    @property
    def untrained(self) -> bool:
        """True if nothing trained the network before the online stage."""
        return not self.setup.initializer.needs_source and self.setup.offline_steps == 0

    @property
    def critic_warmup(self) -> int:
        """Environment steps in which critics and exploration learn, while the actor's mean action is frozen."""
        usual = 0 if self.untrained else WARM_UP
        return usual if self.cfg.critic_warmup is None else self.cfg.critic_warmup

    @property
    def imitation(self) -> float:
        """Weight of the loss that keeps a trained actor near its data."""
        usual = 0.0 if self.untrained else IMITATION
        return usual if self.cfg.imitation is None else self.cfg.imitation

    def imitated(self, step: int) -> tuple[Tensor, Tensor]:
        """Draw observations and actions of single steps of the data, for an online gradient step."""
        batch = self.task.batch(step)
        return batch["observations"][batch["mask"]][:SINGLE], batch["actions"][batch["mask"]][:SINGLE]

    def drop_target_return(self) -> None:
        """Go on with a network without a return input; a constant target return is folded into the weights."""
        self.task.config = replace(self.task.config, model_options={**self.task.config.model_options, "rtg": "none"})
        self.net = self.task.build(self.size)

    def learn(self, agent: Any, monitor: Monitor, bar: Progress) -> None:
        """Train the agent in parts; after each part validate it and save the state.

        Raises:
            Interrupted: on SIGINT or SIGTERM, after saving the state.
        """
        total, state = self.cfg.agent_steps, monitor.run.checkpoint_path("online_state")
        copy_actor(agent, self.net)
        with stop_signal() as stopped:
            learning = WarmUp(self.critic_warmup, lambda step: bar.update(min(step, total)), stopped)
            watch = CrashWatch(self.task.entry.name)
            while agent.num_timesteps < total:
                steps = min(max(1, total // PARTS), total - agent.num_timesteps)
                agent.learn(steps, callback=[learning, watch], reset_num_timesteps=False, log_interval=1000)
                copy_actor(agent, self.net)
                if not stopped():
                    self.record(agent, monitor, watch.failed)
                save_training_state(agent, state)
                if number := stopped():
                    name, done = signal.Signals(number).name, agent.num_timesteps
                    raise Interrupted(f"stopped by {name} after environment step {done} of {total}", 128 + number)

    def record(self, agent: Any, monitor: Monitor, failed: int) -> None:
        """Validate, and log the returns of the training episodes and the number of failed episodes so far."""
        step = self.setup.offline_steps + agent.num_timesteps
        monitor.validate(step)
        returns = [float(info["r"]) for info in agent.ep_info_buffer]
        values = {"online/return": sum(returns) / len(returns)} if returns else {}
        values |= {"online/failed_episodes": failed} if failed else {}
        monitor.run.log(step, {**values, "time/seconds": monitor.seconds})

    def facts(self) -> dict[str, Any]:
        """Describe the run for evaluation.json, which has the returns beside."""
        return super().facts() | {"agent": self.cfg.agent, "agent_steps": self.cfg.agent_steps}
