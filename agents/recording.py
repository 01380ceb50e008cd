"""Episodes played with a behaviour policy or an agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from weit_rl.envs.crashes import check_failure_rate
from weit_rl.envs.registry import EnvEntry

SIDE_BY_SIDE = 64  # environments stepped together in one process
Act = Callable[[np.ndarray], np.ndarray]  # observations (B, obs) -> actions (B, act)


@dataclass
class PlayedEpisode:
    """The record of one played episode of T steps.

    Attributes:
        seed: the environment's reset seed.
        observations: ``(T + 1, obs)`` float32, including the one after the last action; or frames, uint8.
        actions: ``(T, act)`` float32, in [-1, 1].
        rewards: ``(T,)`` float32.
        terminated: True if it ended by the task, not by the time limit.
        states: states that belong to frames, ``(T + 1, obs)`` float32 (default None).
    """

    seed: int
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    states: np.ndarray | None = None


def _same(rows: np.ndarray) -> np.ndarray:
    return rows


@dataclass(frozen=True)
class AgentActor:
    """The actions of a Stable-Baselines3 agent: its mean action, or samples of its policy.

    Attributes:
        agent: with ``use_sde``, :meth:`begin` draws its noise, which is kept until the next call.
        deterministic: whether it acts by its mean.
        seen: converts observations ``(B, obs)`` to the agent's (default: unchanged).
        done: converts the agent's actions ``(B, act)`` to the environment's (default: unchanged).
    """

    agent: Any
    deterministic: bool
    seen: Act = _same
    done: Act = _same

    def begin(self) -> None:
        """Draw new noise before the first step of episodes."""
        if getattr(self.agent, "use_sde", False):
            self.agent.policy.reset_noise()

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Return the actions ``(B, act)`` for observations ``(B, obs)``."""
        return self.done(self.agent.predict(self.seen(observations), deterministic=self.deterministic)[0])


def random_actor(low: np.ndarray, high: np.ndarray) -> Act:
    """Return a policy that draws actions uniformly between two bounds ``(act,)``."""
    return lambda observations: low + (high - low) * torch.rand(len(observations), len(low)).numpy()


def play(act: Act, entry: EnvEntry, seeds: Sequence[int]) -> list[PlayedEpisode]:
    """Play one episode for each environment seed; the same seeds give the same episodes.

    Environments are stepped side by side, with one call of ``act`` for all that still run. An episode whose simulation
    failed is left out (see :func:`check_played`).
    """
    episodes: list[PlayedEpisode] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds[0] if seeds else 0)
        for first in range(0, len(seeds), SIDE_BY_SIDE):
            if isinstance(act, AgentActor):
                act.begin()
            episodes += _play_together(act, entry, seeds[first : first + SIDE_BY_SIDE])
    return episodes


def check_played(entry: EnvEntry, episodes: Sequence[PlayedEpisode], asked: int) -> None:
    """Raise UserError if most of the requested episodes failed."""
    check_failure_rate(entry.name, asked - len(episodes), asked)


def _play_together(act: Act, entry: EnvEntry, seeds: Sequence[int]) -> list[PlayedEpisode]:
    envs = [entry.make() for _ in seeds]
    seen = [[env.reset(seed=int(seed))[0]] for env, seed in zip(envs, seeds, strict=True)]
    steps: list[list[tuple]] = [[] for _ in seeds]
    running, failed = list(range(len(envs))), set()
    while running:
        actions = act(np.stack([seen[i][-1] for i in running])).astype(np.float32)
        for i, action in zip(running, actions, strict=True):
            observation, reward, terminated, truncated, info = envs[i].step(action)
            if "crashed" in info:
                failed.add(i)
            seen[i].append(observation)
            steps[i].append((action, reward, terminated, truncated))
        running = [i for i in running if not (steps[i][-1][2] or steps[i][-1][3])]
    for env in envs:
        env.close()
    return [_episode(seeds[i], seen[i], steps[i]) for i in range(len(seeds)) if i not in failed]


def _episode(seed: int, seen: list[np.ndarray], steps: list[tuple]) -> PlayedEpisode:
    actions, rewards, terminated, _ = zip(*steps, strict=True)
    return PlayedEpisode(
        int(seed), np.stack(seen), np.stack(actions), np.array(rewards, np.float32), bool(terminated[-1])
    )


def episode_statistics(episodes: Sequence[PlayedEpisode], played: int | None = None) -> dict[str, float]:
    """Return ``return_mean``, ``return_std``, the number of ``episodes``, and that of ``failed_episodes``.

    Args:
        episodes: those that did not fail.
        played: number of all played episodes (default: none failed).
    """
    returns = np.array([episode.rewards.sum(dtype=np.float64) for episode in episodes])
    numbers = {"return_mean": float(returns.mean()), "return_std": float(returns.std()), "episodes": len(returns)}
    return {**numbers, "failed_episodes": (played or len(returns)) - len(returns)}


def describe_counts(returns: dict[str, float]) -> str:
    """Describe the numbers of episodes in a :func:`summary`."""
    failed = f" ({returns['failed_episodes']} more failed and are left out)" if returns["failed_episodes"] else ""
    return f"{returns['episodes']} episodes{failed}"
