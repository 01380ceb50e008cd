"""Playing episodes with a behaviour policy, and recording them in Minari's format."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weit_rl.common.errors import UserError
from weit_rl.data.formats.minari_sets import STATES
from weit_rl.envs.crashes import check_few
from weit_rl.envs.registry import EnvEntry

LAYOUT = "0.5.0"  # the first Minari of this layout: a release refuses what a later one, by its number, has written
TOGETHER = 64  # environments stepped side by side in one process
Act = Callable[[np.ndarray], np.ndarray]  # observations (B, obs) -> actions (B, act)


@dataclass
class Episode:
    """One played episode of T steps.

    Attributes:
        seed: the environment's reset seed.
        observations: ``(T + 1, obs)`` float32, the one behind the last action too; or frames, uint8.
        actions: ``(T, act)`` float32, in [-1, 1].
        rewards: ``(T,)`` float32.
        terminated: ended by the task, not by the time limit.
        states: beside frames, ``(T + 1, obs)`` float32 (default None).
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
        agent: with ``use_sde`` its noise is drawn anew by :meth:`begin`, and kept till then.
        deterministic: whether it acts by its mean.
        seen: what the agent sees of observations ``(B, obs)`` (default: all, as they are).
        done: what its actions ``(B, act)`` do (default: themselves).
    """

    agent: Any
    deterministic: bool
    seen: Act = _same
    done: Act = _same

    def begin(self) -> None:
        """Before the first step of episodes."""
        if getattr(self.agent, "use_sde", False):
            self.agent.policy.reset_noise()

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """``(B, obs) -> (B, act)``."""
        return self.done(self.agent.predict(self.seen(observations), deterministic=self.deterministic)[0])


def random_actor(low: np.ndarray, high: np.ndarray) -> Act:
    """Actions drawn uniformly between two bounds ``(act,)``."""
    return lambda observations: low + (high - low) * torch.rand(len(observations), len(low)).numpy()


def play(act: Act, entry: EnvEntry, seeds: Sequence[int]) -> list[Episode]:
    """Play one episode for each environment seed; the same seeds give the same episodes.

    Environments are stepped side by side, with one call of ``act`` for all that still run. An episode whose simulation
    failed is left out (see :func:`check_played`).
    """
    episodes: list[Episode] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds[0] if seeds else 0)
        for first in range(0, len(seeds), TOGETHER):
            if isinstance(act, AgentActor):
                act.begin()
            episodes += _play_together(act, entry, seeds[first : first + TOGETHER])
    return episodes


def check_played(entry: EnvEntry, episodes: Sequence[Episode], asked: int) -> None:
    """UserError where most of the episodes that were asked for failed."""
    check_few(entry.name, asked - len(episodes), asked)


def _play_together(act: Act, entry: EnvEntry, seeds: Sequence[int]) -> list[Episode]:
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


def _episode(seed: int, seen: list[np.ndarray], steps: list[tuple]) -> Episode:
    actions, rewards, terminated, _ = zip(*steps, strict=True)
    return Episode(int(seed), np.stack(seen), np.stack(actions), np.array(rewards, np.float32), bool(terminated[-1]))


def summary(episodes: Sequence[Episode], played: int | None = None) -> dict[str, float]:
    """``return_mean``, ``return_std`` and number of ``episodes``, and of those that failed among all that were played.

    Args:
        episodes: the good ones.
        played: how many were played (default: those).
    """
    returns = np.array([episode.rewards.sum(dtype=np.float64) for episode in episodes])
    numbers = {"return_mean": float(returns.mean()), "return_std": float(returns.std()), "episodes": len(returns)}
    return {**numbers, "failed_episodes": (played or len(returns)) - len(returns)}


def counted(returns: dict[str, float]) -> str:
    """The numbers of episodes of a :func:`summary`, as text."""
    failed = f" ({returns['failed_episodes']} more failed and are left out)" if returns["failed_episodes"] else ""
    return f"{returns['episodes']} episodes{failed}"


def write_minari(folder: Path, entry: EnvEntry, episodes: Iterable[Episode], metadata: dict[str, Any]) -> None:
    """Write ``folder/data/main_data.hdf5`` and ``metadata.json``, which Minari reads; complete or not at all.

    The actions are written in the environment's own units.

    Raises:
        UserError: if the folder exists.
    """
    from minari.dataset.minari_storage import MinariStorage

    if folder.exists():
        raise UserError(f"{folder}: exists and is not overwritten; remove it or choose another run_dir")
    part = folder.with_name(folder.name + ".part").absolute()  # Minari fails on a relative path
    shutil.rmtree(part, ignore_errors=True)
    (part / "data").mkdir(parents=True)
    try:
        storage = MinariStorage.new(part / "data", *entry.own_spaces, env_spec=_spec(entry))
        own = (replace(episode, actions=entry.action_box.own(episode.actions)) for episode in episodes)
        storage.update_episodes(_buffer(episode) for episode in own)
        _compress(part / "data" / "main_data.hdf5")
        storage.update_metadata(metadata | {"minari_version": LAYOUT, "dataset_size": storage.get_size()})
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _spec(entry: EnvEntry) -> Any:
    """Gymnasium's; None for one that JSON cannot hold, such as an entry point that is a class."""
    import gymnasium

    spec = gymnasium.spec(entry.gym_id)
    try:
        spec.to_json()
    except (TypeError, ValueError):
        return None
    return spec


def _buffer(episode: Episode) -> Any:
    from minari.data_collector import EpisodeBuffer

    ends = np.zeros((2, len(episode.rewards)), bool)
    ends[0 if episode.terminated else 1, -1] = True
    arrays = {name: getattr(episode, name) for name in ("observations", "actions", "rewards")}
    infos = None if episode.states is None else {STATES: episode.states}
    return EpisodeBuffer(seed=episode.seed, terminations=ends[0], truncations=ends[1], infos=infos, **arrays)


def _compress(path: Path) -> None:
    # Minari writes small chunks without compression: 117 kB for 1000 steps of HalfCheetah, 94 kB after this.
    import h5py

    small = path.with_suffix(".small")
    with h5py.File(path) as source, h5py.File(small, "w", track_order=True) as target:
        for name, group in source.items():
            target.create_group(name).attrs.update(group.attrs)
            group.visititems(functools.partial(_copy_compressed, target[name]))
    small.replace(path)


def _copy_compressed(target: Any, key: str, found: Any) -> None:
    if hasattr(found, "shape"):
        options = {"compression": "gzip", "compression_opts": 9, "shuffle": True, "chunks": found.shape}
        target.create_dataset(key, data=found[()], **options)
