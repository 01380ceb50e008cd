"""Recorded episodes seen in pictures: they are played again, step for step, in front of a camera."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.agents.recording import Episode, write_minari
from weit_rl.common.errors import UserError
from weit_rl.common.output import say
from weit_rl.envs.camera import camera_of, renderer
from weit_rl.envs.registry import EnvEntry
from weit_rl.storage.atomic_write import check_space

TOLERANCE = 1e-3  # of an observation: simulators are deterministic, but for rounding where actions are rescaled


class Replay:
    """Plays episodes again and hands them on with single frames as observations, one at a time.

    Args:
        entry: the environment, seen in pictures.
        what: the episodes are called in error messages.

    Raises:
        UserError: if nothing here can render.

    Attributes:
        frames: drawn so far.
        seconds: that took, simulation included.
    """

    def __init__(self, entry: EnvEntry, what: str):
        renderer()
        self.entry, self.what = entry, what
        self.frames, self.seconds = 0, 0.0

    def __call__(self, episodes: Iterable[Episode]) -> Iterator[Episode]:
        """The same episodes, with ``(T + 1, 3, edge, edge)`` uint8 observations, and their states beside these.

        Raises:
            UserError: if one goes another way than recorded.
        """
        env = self.entry.states.make()
        for episode in episodes:
            begun = time.monotonic()
            drawn = self._drawn(env, episode)
            self.seconds += time.monotonic() - begun
            self.frames += len(drawn.observations)
            yield drawn
        env.close()

    def speed(self) -> str:
        """How fast it was, as text."""
        size, rate = f"{self.entry.pixels} x {self.entry.pixels}", self.frames / max(self.seconds, 1e-9)
        return f"{self.frames} frames of {size} with {renderer()}, simulated and drawn {rate:.0f} a second"

    def _drawn(self, env: Any, episode: Episode) -> Episode:
        observation, _ = env.reset(seed=episode.seed)
        camera = camera_of(self.entry.name, env.unwrapped, self.entry.pixels or 0)
        pictures, states = [camera.picture(env.unwrapped)], [observation]
        self._compare(observation, episode, 0)
        terminated = False
        for step, action in enumerate(episode.actions, start=1):
            observation, _, terminated, _, info = env.step(action)
            if "crashed" in info:
                raise UserError(
                    f"{self.what}: played again from seed {episode.seed}, its simulation fails in step {step}"
                )
            self._compare(observation, episode, step)
            pictures.append(camera.picture(env.unwrapped))
            states.append(observation)
        seen, beside = np.stack(pictures), np.stack(states)
        return replace(episode, observations=seen, states=beside, terminated=bool(episode.terminated or terminated))

    def _compare(self, observation: np.ndarray, episode: Episode, step: int) -> None:
        if step == len(episode.observations):
            return  # some formats do not keep the last one
        away = np.abs(observation - episode.observations[step]).max()
        if not away <= TOLERANCE * (1 + np.abs(observation).max()):
            raise UserError(
                f"{self.what}: played again from seed {episode.seed} it goes another way from step {step} on (by "
                f"{away:.2g}), most likely since other versions recorded it; record it here, with pixels=true"
            )


def bytes_of(entry: EnvEntry, episodes: Sequence[Episode]) -> int:
    """What writing episodes takes on disk at most: a full disk would end the process, in HDF5's library."""
    row = sum(space.dtype.itemsize * math.prod(space.shape) for space in entry.own_spaces) + 32
    steps = sum(len(episode.rewards) + 1 for episode in episodes)
    return 3 * row * steps + 2**16 * len(episodes) + 2**20  # as Minari writes them, and their compressed copy


def write_episodes(folder: Path, entry: EnvEntry, episodes: Sequence[Episode], metadata: dict[str, Any]) -> None:
    """Write episodes that were played by states as :func:`write_minari` does, in pictures where ``entry`` says so.

    Raises:
        UserError: as :class:`Replay` and :func:`write_minari` do, or if the disk has too little space; then nothing is
            written.
    """
    check_space(folder, bytes_of(entry, episodes))
    if not entry.pixels:
        write_minari(folder, entry, episodes, metadata)
        return
    replay = Replay(entry, f"{folder.name} of {entry.name}")
    write_minari(folder, entry, replay(episodes), metadata)
    say(f"{folder}: {replay.speed()}")
