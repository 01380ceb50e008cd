"""The stage behind the offline ones: the network goes on online, as the actor of a Stable-Baselines3 agent."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

from torch import Tensor

from weit_rl.agents.crash_watch import CrashWatch
from weit_rl.agents.imitation import Imitation
from weit_rl.agents.online import ALGORITHMS, Learning, copy_actor, make_online
from weit_rl.agents.snapshots import load_training_state, save_training_state
from weit_rl.common.errors import Interrupted, UserError
from weit_rl.common.registry import unknown
from weit_rl.options.choices import ACTOR
from weit_rl.options.train_options import TrainOptions
from weit_rl.training.checkpoint import save_network
from weit_rl.training.loop import stop_signal
from weit_rl.training.progress import Progress
from weit_rl.workflows.stage_monitor import Monitor
from weit_rl.workflows.train_run import TrainRun

WARM_UP = 5000  # environment steps in which a trained actor's mean action stays as it is
IMITATION = 10.0  # times TD3+BC's weight; 1 and 3 let a trained actor fall now and then (64x3, seed 100)
SINGLE = 256  # steps of the data beside a batch of the algorithm
PARTS = 20  # validations on the way; the state to go on from is written with each


class OnlineRun(TrainRun):
    """A training run with ``agent=NAME``; its last network is the actor, as a plain policy.

    Args:
        cfg: the composed config of ``weit_rl.train``.
    """

    cfg: TrainOptions

    def __init__(self, cfg: TrainOptions):
        if cfg.agent not in ALGORITHMS:
            raise unknown("agent", str(cfg.agent), list(ALGORITHMS))
        if cfg.model != ACTOR:
            raise UserError(f"agent={cfg.agent}: takes model={ACTOR}, not {cfg.model}; leave model out")
        super().__init__(cfg)
        self.offline_steps = self.scaler_steps + self.train_steps
        self.stages["online"] = self.offline_steps
        self.agent(size=str(self.size))  # whether its options are good shows when it is made

    def train(self, monitor: Monitor) -> None:
        """The offline stage, then the online one."""
        super().train(monitor)
        monitor.validate(self.offline_steps)
        begun, state = (monitor.run.checkpoint_path(name) for name in ("offline", "online_state"))
        if not begun.exists():
            save_network(begun, self.net, self.card())
        agent = self.agent(checkpoint=str(begun))
        load_training_state(agent, state)
        if self.imitation:
            Imitation(agent, self.imitated, self.imitation)
        self.begin()
        with Progress(self.cfg.agent_steps, f"{self.cfg.agent} online", agent.num_timesteps) as bar:
            self.learn(agent, monitor, bar)

    def agent(self, **start: str) -> Any:
        """The agent before its first step; one whose actor is untrained explores as Stable-Baselines3's does."""
        cfg, options = self.cfg, dict(self.cfg.agent_options)
        return make_online(str(cfg.agent), self.task.entry, cfg.n_envs, cfg.seed, options, self.untrained, **start)

    @property
    def untrained(self) -> bool:
        """Whether nothing has trained the network before it goes online."""
        return not self.initializer.needs_source and self.offline_steps == 0

    @property
    def critic_warmup(self) -> int:
        """Environment steps in which the critics, and what the actor explores with, learn without its mean action."""
        usual = 0 if self.untrained else WARM_UP
        return usual if self.cfg.critic_warmup is None else self.cfg.critic_warmup

    @property
    def imitation(self) -> float:
        """How strongly a trained actor is held near its data."""
        usual = 0.0 if self.untrained else IMITATION
        return usual if self.cfg.imitation is None else self.cfg.imitation

    def imitated(self, step: int) -> tuple[Tensor, Tensor]:
        """Observations and actions of single steps of the data, for a gradient step online."""
        batch = self.task.batch(step)
        return batch["observations"][batch["mask"]][:SINGLE], batch["actions"][batch["mask"]][:SINGLE]

    def begin(self) -> None:
        """From here on the network is asked for no return: what the return asked for does is constant by now."""
        self.task.config = replace(self.task.config, rtg="none")
        self.net = self.task.build(self.size)

    def learn(self, agent: Any, monitor: Monitor, bar: Progress) -> None:
        """Part by part, each validated and kept.

        Raises:
            Interrupted: on SIGINT or SIGTERM, after keeping what there is.
        """
        total, state = self.cfg.agent_steps, monitor.run.checkpoint_path("online_state")
        copy_actor(agent, self.net)
        with stop_signal() as stopped:
            learning = Learning(self.critic_warmup, lambda step: bar.update(min(step, total)), stopped)
            watch = CrashWatch(self.task.entry.name)
            while agent.num_timesteps < total:
                steps = min(max(1, total // PARTS), total - agent.num_timesteps)
                agent.learn(steps, callback=[learning, watch], reset_num_timesteps=False, log_interval=1000)
                copy_actor(agent, self.net)
                if not stopped():
                    self.note(agent, monitor, watch.failed)
                save_training_state(agent, state)
                if number := stopped():
                    name, done = signal.Signals(number).name, agent.num_timesteps
                    raise Interrupted(f"stopped by {name} after environment step {done} of {total}", 128 + number)

    def note(self, agent: Any, monitor: Monitor, failed: int) -> None:
        """Validation, the returns of the training's own episodes, and how many of them failed since it began."""
        step = self.offline_steps + agent.num_timesteps
        monitor.validate(step)
        returns = [float(info["r"]) for info in agent.ep_info_buffer]
        values = {"online/return": sum(returns) / len(returns)} if returns else {}
        values |= {"online/failed_episodes": failed} if failed else {}
        monitor.run.log(step, {**values, "time/seconds": monitor.seconds})

    def facts(self) -> dict[str, Any]:
        """What evaluation.json says besides the returns."""
        return super().facts() | {"agent": self.cfg.agent, "agent_steps": self.cfg.agent_steps}
