"""Recorded episodes in pictures: they are simulated again, step by step, in front of a camera."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import PlayedEpisode
from weit_rl.common.errors import UserError
from weit_rl.common.output import print_line
from weit_rl.envs.camera import camera_of, renderer
from weit_rl.envs.registry import EnvEntry
from weit_rl.storage.atomic_write import check_space

TOLERANCE = 1e-3  # relative, for rounding of rescaled actions; apart from that, simulators are deterministic


class Replay:
    """A replay of episodes that yields them with frames as observations, one at a time.

    Args:
        entry: the environment, seen in pictures.
        what: name of the episodes in error messages.

    Raises:
        UserError: if no renderer works here.

    Attributes:
        frames: number of frames drawn so far.
        seconds: time that this took, simulation included.
    """

    def __init__(self, entry: EnvEntry, what: str):
        renderer()
        self.entry, self.what = entry, what
        self.frames, self.seconds = 0, 0.0

    def __call__(self, episodes: Iterable[PlayedEpisode]) -> Iterator[PlayedEpisode]:
        """Yield the same episodes with ``(T + 1, 3, edge, edge)`` uint8 observations, and with their states.

        Raises:
            UserError: if an episode diverges from its recording.
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
        """Describe the speed of drawing."""
        size, rate = f"{self.entry.pixels} x {self.entry.pixels}", self.frames / max(self.seconds, 1e-9)
        return f"{self.frames} frames of {size} with {renderer()}, simulated and drawn {rate:.0f} a second"

    def _drawn(self, env: Any, episode: PlayedEpisode) -> PlayedEpisode:
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

    def _compare(self, observation: np.ndarray, episode: PlayedEpisode, step: int) -> None:
        if step == len(episode.observations):
            return  # some formats do not store the last observation
        away = np.abs(observation - episode.observations[step]).max()
        if not away <= TOLERANCE * (1 + np.abs(observation).max()):
            raise UserError(
                f"{self.what}: played again from seed {episode.seed} it goes another way from step {step} on (by "
                f"{away:.2g}), most likely since other versions recorded it; record it here, with pixels=true"
            )


def disk_space_of(entry: EnvEntry, episodes: Sequence[PlayedEpisode]) -> int:
    """Return the most that writing episodes takes on disk, since a full disk would end the process inside HDF5."""
    row = sum(space.dtype.itemsize * math.prod(space.shape) for space in entry.own_spaces) + 32
    steps = sum(len(episode.rewards) + 1 for episode in episodes)
    return 3 * row * steps + 2**16 * len(episodes) + 2**20  # Minari's file and its compressed copy


def write_episodes(folder: Path, entry: EnvEntry, episodes: Sequence[PlayedEpisode], metadata: dict[str, Any]) -> None:
    """Write episodes that were played by states as :func:`write_minari` does, in pictures if ``entry`` shows pictures.

    Raises:
        UserError: as :class:`Replay` and :func:`write_minari` do, or if the disk has too little space; then nothing is
            written.
    """
    check_space(folder, disk_space_of(entry, episodes))
    if not entry.pixels:
        write_minari(folder, entry, episodes, metadata)
        return
    replay = Replay(entry, f"{folder.name} of {entry.name}")
    write_minari(folder, entry, replay(episodes), metadata)
    print_line(f"{folder}: {replay.speed()}")
