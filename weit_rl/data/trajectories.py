"""Recorded episodes laid end to end, and statistics computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.data.constant_columns import constant, scales

BEST_FRACTION = 0.1
RETURN_SCALE, USUAL = 1000.0, (1.0, 1e5)  # divisor of returns, and the range of largest returns that it suits


class Statistics(NamedTuple):
    """Mean and standard deviation of every observation entry, each ``(obs,)`` float32.

    The deviation of a constant entry is 1, since the data do not show how far the entry moves during a roll-out; see
    :func:`weit_rl.data.constant_columns.scales`. Pictures, each ``(channels, 1, 1)``, are always mapped from 0..255 to
    -1..1.
    """

    mean: np.ndarray
    std: np.ndarray


@dataclass
class Trajectories:
    """Episodes laid end to end.

    Attributes:
        observations: before each action, ``(steps, obs)`` float32, or single frames ``(steps, 3, height, width)``
            uint8.
        actions: ``(steps, act)`` float32.
        rewards: ``(steps,)`` float32, raw units.
        starts: ``(episodes + 1,)`` int64; episode i holds the steps from ``starts[i]`` up to ``starts[i + 1]``.
        info: metadata such as env_id, level, algorithm (default empty).
        origin: ``(episodes,)`` int64, the set that each episode is from (default: 0, a single set).
        weights: ``(sets,)`` shares of the windows to draw from each set; they need not sum to 1 (default None: in
            proportion to numbers of steps).
        stack: number of frames, the newest last, in one observation of a network (default 1, for states).
        states: states that belong to frames, ``(steps, obs)`` float32, for a network that sees both (default None).
        by_task: whether each set is a task of its own (default False).
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    starts: np.ndarray
    info: dict[str, Any] = field(default_factory=dict)
    origin: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    weights: np.ndarray | None = None
    stack: int = 1
    states: np.ndarray | None = None
    by_task: bool = False

    def __post_init__(self) -> None:
        if len(self.origin) == 0:
            self.origin = np.zeros(self.episodes, dtype=np.int64)

    @classmethod
    def join(cls, episodes: Sequence[tuple[Any, ...]], info: dict[str, Any], stack: int = 1) -> Trajectories:
        """Lay (observations, actions, rewards, ...) of one or more episodes end to end.

        The caller makes sure that lengths are equal, and adds states that belong to frames.
        """
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, which readers refuse
            observations, actions, rewards = (_numbers(np.concatenate([e[i] for e in episodes])) for i in range(3))
        starts = np.cumsum([0, *(len(episode[2]) for episode in episodes)], dtype=np.int64)
        return cls(observations, actions, rewards, starts, info, stack=stack)

    @classmethod
    def mix(cls, sets: Sequence[Trajectories], weights: Sequence[float] | None = None) -> Trajectories:
        """Join several sets, each with an origin of its own; ``info`` is the first set's."""
        names = ["observations", "actions", "rewards", *([] if sets[0].states is None else ["states"])]
        arrays: dict[str, Any] = {name: np.concatenate([getattr(s, name) for s in sets]) for name in names}
        starts = np.cumsum(np.concatenate([[0], *(s.lengths for s in sets)]), dtype=np.int64)
        origin = np.repeat(np.arange(len(sets)), [s.episodes for s in sets])
        shares = None if weights is None else np.array([float(weight) for weight in weights])
        return cls(**arrays, starts=starts, info=dict(sets[0].info), origin=origin, weights=shares, stack=sets[0].stack)

    @property
    def steps(self) -> int:
        """Return the number of steps in all episodes together."""
        return len(self.rewards)

    @property
    def episodes(self) -> int:
        """Return the number of episodes."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of steps of each episode, ``(episodes,)``."""
        return np.diff(self.starts)

    @property
    def pictures(self) -> bool:
        """Return True if observations are frames, not states."""
        return self.observations.ndim > 2

    @property
    def observation_dim(self) -> int | list[int]:
        """Return the numbers in one observation of a network, or ``[channels, height, width]`` of its stacked frames.

        For a network that sees both, it is ``[numbers in a state, channels, height, width]``.
        """
        first, *edges = self.observations.shape[1:]
        beside = [] if self.states is None else [self.states.shape[1]]
        return [*beside, self.stack * first, *edges] if self.pictures else first

    def returns(self) -> np.ndarray:
        """Return the undiscounted return of each episode, ``(episodes,)`` float64."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.starts[:-1])

    def returns_to_go(self) -> np.ndarray:
        """Return the sum of each reward and all later rewards of its episode, ``(steps,)`` float32."""
        rewards = self.rewards.astype(np.float64)
        earned = np.cumsum(rewards)
        last = np.repeat(self.starts[1:] - 1, self.lengths)
        return (earned[last] - earned + rewards).astype(np.float32)

    def target_return(self) -> float:
        """Return the return to condition on in a roll-out: the mean of the best tenth of the episodes, at least one."""
        best = max(1, round(BEST_FRACTION * self.episodes))
        return float(np.sort(self.returns())[-best:].mean())

    def return_scale(self) -> float:
        """Return the divisor of returns: 1000, or the largest return-to-go if that is far from 1000."""
        largest = float(np.abs(self.returns_to_go()).max())
        return RETURN_SCALE if USUAL[0] <= largest <= USUAL[1] or not largest else largest

    def shares(self) -> np.ndarray | None:
        """Return each episode's share of the windows, ``(episodes,)`` of sum 1; None if all steps are equally likely.

        A set's weight is spread evenly over its steps. Weights of sets without any episode here are left out.
        """
        if self.weights is None:
            return None
        steps = np.bincount(self.origin, self.lengths, minlength=len(self.weights))
        shares = self.weights[self.origin] * self.lengths / steps[self.origin]
        return shares / shares.sum()

    def statistics(self, least: float = 0.0) -> Statistics:
        """Return mean and standard deviation of the observations, each step weighted by how often it is drawn.

        For states with pictures, they describe the states only.

        Args:
            least: smallest deviation, as a share of the median one (default 0; see
                :func:`weit_rl.data.constant_columns.scales`).
        """
        states = self.columns
        if states is None:
            middle = np.full((self.stack * self.observations.shape[1], 1, 1), 127.5, np.float32)
            return Statistics(middle, middle)
        shares = self.shares()
        if shares is None:
            mean = states.mean(axis=0, dtype=np.float64)
            std = states.std(axis=0, dtype=np.float64)
        else:
            drawn = np.repeat(shares / self.lengths, self.lengths)
            mean = np.average(states, axis=0, weights=drawn)
            std = np.sqrt(np.average((states - mean) ** 2, axis=0, weights=drawn))
        return Statistics(mean.astype(np.float32), scales(states, mean, std, least))

    @property
    def columns(self) -> np.ndarray | None:
        """Return the states, ``(steps, obs)``, also if there are pictures; None if there are no states."""
        return self.states if self.pictures else self.observations

    def constant_columns(self) -> list[int]:
        """Return the indices of the state entries that are constant."""
        return [] if self.columns is None else np.flatnonzero(constant(self.columns)).tolist()

    def subset(self, indices: Sequence[int] | np.ndarray) -> Trajectories:
        """Return the episodes of these indices, one or more, in this order."""
        spans = [slice(self.starts[i], self.starts[i + 1]) for i in indices]
        episodes = [(self.observations[span], self.actions[span], self.rewards[span]) for span in spans]
        origin = self.origin[np.asarray(indices)]
        states = None if self.states is None else np.concatenate([self.states[span] for span in spans])
        joined = self.join(episodes, dict(self.info), self.stack)
        return replace(joined, origin=origin, weights=self.weights, states=states, by_task=self.by_task)

    def steps_by_origin(self) -> list[np.ndarray]:
        """Return the indices of the steps of each set that has any episode here."""
        origin = np.repeat(self.origin, self.lengths)
        return [np.flatnonzero(origin == number) for number in np.unique(self.origin)]

    def best(self, fraction: float) -> Trajectories:
        """Return the given share of the episodes with the highest returns, at least one, in their order."""
        count = max(1, round(fraction * self.episodes))
        return self.subset(np.sort(np.argsort(self.returns(), kind="stable")[-count:]))

    def drawn(self, count: int, seed: int) -> Trajectories:
        """Draw ``count`` episodes at random, in their order; with one seed, a larger draw contains every smaller one.

        Raises:
            UserError: if there are fewer.
        """
        if count > self.episodes:
            have = f"there are {self.episodes} to train on, the held-out ones left aside"
            raise UserError(f"data_episodes={count}: {have}; ask for fewer")
        return self.subset(np.sort(np.random.default_rng(seed).permutation(self.episodes)[:count]))

    def split(self, validation_fraction: float, seed: int) -> tuple[Trajectories, Trajectories]:
        """Split whole episodes into (training, validation), before any window is cut.

        Args:
            validation_fraction: share of the episodes that are held out, rounded, but at least one episode on each
                side.
            seed: of the choice of held-out episodes.

        Raises:
            UserError: if there are fewer than two episodes or the fraction is not between 0 and 1.
        """
        if self.episodes < 2:
            raise UserError(f"data {self.info.get('path', '')}: one episode cannot be split, record at least two")
        if not 0 < validation_fraction < 1:
            raise UserError(f"validation_fraction={validation_fraction}: must lie between 0 and 1")
        held = min(max(1, round(validation_fraction * self.episodes)), self.episodes - 1)
        order = np.random.default_rng(seed).permutation(self.episodes)
        return self.subset(np.sort(order[held:])), self.subset(np.sort(order[:held]))


def _numbers(array: np.ndarray) -> np.ndarray:
    """Convert an array to its type in memory: bytes for pictures, float32 for everything else."""
    return array if array.ndim > 2 else array.astype(np.float32)
