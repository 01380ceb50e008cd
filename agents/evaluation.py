"""Evaluation of a sequence policy in the real environment: all episodes at once, one batched forward per step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weit_rl.agents.input_checks import one_each
from weit_rl.common.errors import UserError
from weit_rl.core.eval_mode import eval_mode
from weit_rl.envs.registry import EnvEntry


class WindowMemory:
    """The windows of several episodes that began together, as the network takes them.

    Args:
        net: a policy; its buffers hold the target return.
        observations: ``(episodes, observation_dim)`` at reset, or pictures.
        max_steps: longest episode, in steps.
    """

    def __init__(self, net: Any, observations: np.ndarray, max_steps: int):
        episodes, self.t, self.net = len(observations), 0, net
        device = net.target_return.device
        self.context: int = net.context
        seen = torch.as_tensor(observations, device=device)
        self.observations = deque([seen], maxlen=net.context)  # whole episodes of pictures would take gigabytes
        self.actions = torch.zeros(episodes, max_steps + 1, net.action_dim, device=device)
        self.returns_to_go = torch.full((episodes, max_steps + 1), float(net.target_return), device=device)

    def act(self, rows: Tensor) -> Tensor:
        """Return the actions ``(rows, action_dim)`` of the running rows."""
        actions: Tensor = self.net.act(*self.window(rows))
        return actions

    def window(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the network's arguments for the running rows, at most ``context`` steps."""
        low = max(0, self.t + 1 - self.context)
        times = torch.arange(low, self.t + 1, device=rows.device).expand(len(rows), -1)
        act, rtg = (part[rows, low : self.t + 1] for part in (self.actions, self.returns_to_go))
        return torch.stack([seen[rows] for seen in self.observations], dim=1), act, rtg, times

    def push(self, rows: Tensor, actions: Tensor, observations: np.ndarray, rewards: np.ndarray) -> None:
        """Append the actions of the running rows, and the observations and rewards after them."""
        earned = torch.as_tensor(one_each("rewards", rewards, len(rows))).to(actions)
        self.actions[rows, self.t] = actions
        self.returns_to_go[rows, self.t + 1] = self.returns_to_go[rows, self.t] - earned
        self.t += 1
        seen = self.observations[-1].clone()
        seen[rows] = torch.as_tensor(observations).to(seen)
        self.observations.append(seen)


class KeyValueMemory:
    """The past of several episodes that began together, for a policy that acts without windows (``keeps_past``).

    Args:
        net: a policy; its buffers hold the target return.
        observations: ``(episodes, observation_dim)`` at reset.
    """

    def __init__(self, net: Any, observations: np.ndarray):
        count, device = len(observations), net.target_return.device
        self.net, self.t, self.rows = net, 0, torch.arange(count, device=device)
        self.seen = torch.as_tensor(observations, device=device)
        self.actions = torch.zeros(count, net.action_dim, device=device)
        self.returns_to_go = net.target_return.repeat(count)
        self.past = net.empty_past(count)

    def act(self, rows: Tensor) -> Tensor:
        """Return the actions ``(rows, action_dim)`` of the running rows, and drop the memory of all others.

        Raises:
            UserError: for rows that were dropped before, or in another order.
        """
        if not torch.equal(self.rows, rows):
            running = torch.isin(self.rows, rows)
            if not torch.equal(self.rows[running], rows):
                raise UserError(
                    f"rows {rows.tolist()}: of those kept are {self.rows.tolist()}; give some of them, in order"
                )
            self.rows, self.past = rows, tuple(kept[running] for kept in self.past)
        now = (self.seen[rows], self.actions[rows], self.returns_to_go[rows], torch.full_like(rows, self.t))
        actions, self.past = self.net.step(*now, self.past)
        return actions

    def push(self, rows: Tensor, actions: Tensor, observations: np.ndarray, rewards: np.ndarray) -> None:
        """Take in the actions of the running rows, and the observations and rewards after them."""
        self.t += 1
        self.actions[rows] = actions
        self.returns_to_go[rows] -= torch.as_tensor(one_each("rewards", rewards, len(rows))).to(actions)
        self.seen[rows] = torch.as_tensor(observations).to(self.seen)


def memory_of(net: Any, observations: np.ndarray) -> WindowMemory | KeyValueMemory:
    """Return the memory that a policy needs, for episodes that begin with these observations."""
    return KeyValueMemory(net, observations) if net.keeps_past else WindowMemory(net, observations, net.max_steps)


@torch.no_grad()
def rollout(
    net: Any,
    envs: list[Any],
    seeds: list[int],
    on_step: Callable[[int, np.ndarray], None] = lambda t, returns: None,
    failed: list[int] | None = None,
    succeeded: list[int] | None = None,
) -> np.ndarray:
    """Roll a policy out for one episode in each environment.

    Args:
        net: a plain policy; it gets its last ``context`` steps.
        envs: gymnasium environments of one kind, with actions in [-1, 1].
        seeds: the reset seed of each.
        on_step: called before each step with the number of steps done and the returns so far (videos, progress).
        failed: a list to which the seeds of failed episodes are appended (default None: not recorded).
        succeeded: a list to which the seeds of episodes with a success are appended (default None: not recorded).

    Returns:
        ``(len(envs),)`` undiscounted returns.
    """
    first = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)])
    memory = memory_of(net, first)
    returns, running = np.zeros(len(envs)), np.arange(len(envs))
    while len(running):
        on_step(memory.t, returns)
        rows = torch.from_numpy(running).to(memory.actions.device)
        actions = memory.act(rows)
        steps = [envs[i].step(a) for i, a in zip(running, actions.cpu().numpy(), strict=True)]
        rewards = np.array([step[1] for step in steps], dtype=np.float64)
        returns[running] += rewards
        memory.push(rows, actions, np.stack([step[0] for step in steps]), rewards.astype(np.float32))
        for i, step in zip(running, steps, strict=True):
            note_end(step[4], seeds[i], failed, succeeded)
        running = running[[not (step[2] or step[3]) for step in steps]]
    return returns


def note_end(info: dict[str, Any], seed: int, failed: list[int] | None, succeeded: list[int] | None) -> None:
    """Append an episode's seed to the lists that its step's ``info`` belongs to; an episode succeeds once."""
    if failed is not None and "crashed" in info:
        failed.append(seed)
    if succeeded is not None and seed not in succeeded and np.any(info.get("success", False)):
        succeeded.append(seed)


def episode_returns(
    net: nn.Module,
    entry: EnvEntry,
    episodes: int,
    seed: int,
    failed: list[int] | None = None,
    succeeded: list[int] | None = None,
) -> np.ndarray:
    """Return the undiscounted return of every episode.

    Args:
        net: a plain policy.
        entry: the environment's registry row.
        episodes: number of episodes.
        seed: the first episode's reset seed; the others follow.
        failed: a list to which the seeds of failed episodes are appended (default None: not recorded).
        succeeded: a list to which the seeds of episodes with a success are appended (default None: not recorded).
    """
    envs = [entry.make() for _ in range(episodes)]
    try:
        with eval_mode(net):
            return rollout(net, envs, list(range(seed, seed + episodes)), failed=failed, succeeded=succeeded)
    finally:
        for env in envs:
            env.close()


def evaluate(net: nn.Module, entry: EnvEntry, episodes: int, seed: int) -> dict[str, Any]:
    """Return mean, spread and score of the returns (see :func:`episode_returns` for the arguments)."""
    failed: list[int] = []
    succeeded: list[int] = []
    returns = episode_returns(net, entry, episodes, seed, failed, succeeded)
    return summary(returns, entry, len(failed), len(succeeded))


def summary(returns: np.ndarray, entry: EnvEntry, failed: int = 0, succeeded: int = 0) -> dict[str, Any]:
    """Summarise the returns of some episodes for a report.

    The score is None without reference returns, unless success counts.

    Args:
        returns: of all episodes; a failed episode counts with its return until then.
        entry: the environment.
        failed: number of episodes in which the simulation failed (default 0).
        succeeded: number of episodes with a success (default 0), reported where the environment counts it.
    """
    share = succeeded / len(returns)
    return {
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_median": float(np.median(returns)),
        "episodes": len(returns),
        "failed_episodes": failed,
        **({"success_rate": share} if entry.success else {}),
        "score": entry.score(returns.mean(), share),
    }
