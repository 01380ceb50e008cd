"""Episodes of an environment's scripted expert, with noise on what is executed if asked."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from weit_rl.agents.recording import PlayedEpisode
from weit_rl.common.errors import UserError
from weit_rl.envs.registry import EnvEntry

Expert = Callable[[np.ndarray], np.ndarray]  # one observation (obs,) -> its action (act,)


@dataclass
class Demonstrations:
    """The successful episodes of an expert, and the number of all that it played.

    Attributes:
        episodes: those with a success, in the order of their seeds.
        played: number of all episodes; the others failed and are left out.
    """

    episodes: list[PlayedEpisode]
    played: int

    @property
    def failed(self) -> int:
        """Return the number of episodes that are left out."""
        return self.played - len(self.episodes)


def demonstrate(entry: EnvEntry, wanted: int, seeds: range, noise: float = 0.0) -> Demonstrations:
    """Play an expert until so many episodes succeeded, or the seeds are used up.

    Args:
        entry: an environment with a scripted expert. Where it counts no successes, every episode without a failure of
            the simulation counts.
        wanted: number of successful episodes.
        seeds: reset seeds, one for each episode that may be played.
        noise: standard deviation of the Gaussian noise on the executed actions, in [-1, 1] units (default 0). Recorded
            are the expert's own actions.

    Raises:
        UserError: if the environment has no expert, or no episode succeeded.
    """
    good: list[PlayedEpisode] = []
    env, played = entry.states.make(), 0
    try:
        for seed in seeds:
            if len(good) == wanted:
                break
            episode, succeeded = _play(env, expert_of(entry), seed, noise)
            good, played = good + [episode] * (succeeded or not entry.success), played + 1
    finally:
        env.close()
    if not good:
        with_noise = f" with noise={noise:g}" if noise else ""
        raise UserError(f"env {entry.name}: its expert failed in all {played} episodes{with_noise}; lower the noise")
    return Demonstrations(good, played)


def expert_of(entry: EnvEntry) -> Expert:
    """Make the scripted expert of an environment for one episode; raise UserError if it has none."""
    if not entry.expert:
        raise UserError(f"env {entry.name}: has no scripted expert; record an agent (mode=record), or use mode=train")
    expert: Expert = pkgutil.resolve_name(entry.expert)(entry.gym_id)
    return expert


def _play(env: Any, expert: Expert, seed: int, noise: float) -> tuple[PlayedEpisode, bool]:
    """Play one episode; return it and whether it succeeded. A failed simulation is no success."""
    rows, rewards, seen, terminated, info = [], [], [env.reset(seed=seed)[0]], False, {}
    for deviation in _deviations(env.action_space.shape, seed, noise):
        action = expert(seen[-1])
        observation, reward, terminated, truncated, info = env.step(np.clip(action + deviation, -1, 1))
        rows.append(action)
        rewards.append(reward)
        seen.append(observation)
        if terminated or truncated:
            break
    arrays = np.stack(seen), np.stack(rows), np.array(rewards, np.float32)
    return PlayedEpisode(seed, *arrays, bool(terminated)), bool(info.get("success")) and "crashed" not in info


def _deviations(shape: tuple[int, ...], seed: int, noise: float) -> Iterator[np.ndarray]:
    """Yield the noise of every step; an episode's seed always gives the same."""
    generator = np.random.default_rng(seed)
    while True:
        yield (noise * generator.standard_normal(shape)).astype(np.float32)
