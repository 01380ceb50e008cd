"""Levels of a behaviour data set: the choice of their snapshots, their recording and their measurement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from weit_rl.agents.behaviour import BehaviourConfig, make_behaviour
from weit_rl.agents.metadata import describe
from weit_rl.agents.pictures import write_episodes
from weit_rl.agents.recording import (
    Act,
    AgentActor,
    check_played,
    describe_counts,
    episode_statistics,
    play,
    random_actor,
)
from weit_rl.agents.snapshots import load_snapshot
from weit_rl.common.errors import UserError
from weit_rl.common.output import print_line
from weit_rl.data.minari_names import level_id
from weit_rl.envs.crashes import ADVICE
from weit_rl.envs.registry import EnvEntry
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.storage.json_file import read_json

LEVELS = ("expert", "medium", "random")
# First environment seeds; weit_rl/common/seeds.py has those of validation, test and comparison.
SELECTION_SEED, EVALUATION_SEED, RECORDING_SEED = 4_000_000, 5_000_000, 6_000_000
LEVEL_SEEDS = 100_000  # number of recording seeds reserved for one level
ACTING = "even episodes follow the policy's mean action, odd ones sample from the policy"


def choose(returns: dict[int, float]) -> dict[str, int]:
    """Choose the environment steps of each level's snapshot, 0 for random actions.

    Medium is the snapshot nearest to halfway between the worst and the best. The first one above halfway may be an
    expert already.

    Args:
        returns: environment steps -> selection return of that snapshot, in the order of training.
    """
    expert = max(returns, key=lambda steps: returns[steps])
    halfway = (returns[expert] + min(returns.values())) / 2
    medium = min(returns, key=lambda steps: abs(returns[steps] - halfway))
    return {"expert": expert, "medium": medium, "random": 0}


def selection_return(act: Act, entry: EnvEntry, seeds: Sequence[int]) -> tuple[float | None, str]:
    """Measure a snapshot by its mean return over some episodes.

    Args:
        act: the snapshot.
        entry: the environment.
        seeds: one for each episode.

    Returns:
        The mean, or None if an episode failed, since a failed one may earn more; and a line that says so.
    """
    episodes = play(act, entry, seeds)
    if len(episodes) < len(seeds):
        return None, f"{len(seeds) - len(episodes)} of {len(seeds)} selection episodes failed, so it is not chosen"
    value = episode_statistics(episodes)["return_mean"]
    return value, f"selection return {value:.0f}"


class LevelRecorder:
    """The snapshots of one training, from which levels are chosen, recorded and measured.

    Args:
        entry: the environment; if it shows pictures, recordings hold pictures, while the policy sees states.
        config: options of the behaviour policy's training.
        run_dir: holds ``behaviour/``; ``selection.json`` and ``data/<level>/`` are written here.
        selection_episodes: episodes for choosing among snapshots.
        evaluation_episodes: episodes for measuring each chosen policy, for each way of acting.
        dataset_id: Minari name of the sets; the level is added to it, and it names the folder below ``data/`` (default
            None: ``weit_rl/ENV/LEVEL-v0``, and ``data/LEVEL``).

    Raises:
        UserError: if the algorithm is unknown or refuses its hyperparameters.
    """

    def __init__(
        self,
        entry: EnvEntry,
        config: BehaviourConfig,
        run_dir: Path,
        selection_episodes: int = 4,
        evaluation_episodes: int = 20,
        dataset_id: str | None = None,
    ):
        self.dataset_id = dataset_id
        self.entry, self.config, self.run_dir = entry, config, run_dir
        self.selection_seeds = range(SELECTION_SEED, SELECTION_SEED + selection_episodes)
        self.evaluation_seeds = range(EVALUATION_SEED, EVALUATION_SEED + evaluation_episodes)
        self.acting = entry.states
        self.agent = make_behaviour(config, self.acting.make, n_envs=1)

    def selection_returns(self) -> dict[int, float]:
        """Return environment steps -> mean deterministic return of every snapshot, stored in ``selection.json``."""
        path = self.run_dir / "selection.json"
        stored = read_json(path) if path.exists() else {}
        returns = {int(k): None if v is None else float(v) for k, v in stored.items()}
        for file in sorted((self.run_dir / "behaviour").glob("snapshot_*.safetensors")):
            steps = int(file.stem.removeprefix("snapshot_"))
            if steps not in returns:
                act = AgentActor(load_snapshot(self.agent, file), deterministic=True)
                returns[steps], said = selection_return(act, self.acting, self.selection_seeds)
                print_line(f"snapshot after {steps} steps: {said}")
                write_atomically(path, json.dumps(returns).encode())
        last = self.config.steps + self.config.n_envs * self._rollout()
        good = {steps: value for steps, value in sorted(returns.items()) if steps < last and value is not None}
        if not good:
            raise UserError(
                f"env {self.acting.name}: an episode of every snapshot failed, so none is a level; {ADVICE}"
            )
        return good

    def record(self, level: str, steps: int, episodes: int) -> None:
        """Record and measure one level, unless that is done.

        Even episodes follow the policy's mean action, odd ones sample from the policy. So the data show how to return
        to the best path, not only that path. The measurement uses other seeds.

        Args:
            level: name of the level and of the folder.
            steps: environment steps of the snapshot, 0 for random actions.
            episodes: number of episodes to record.
        """
        folder = self._folder(level)
        if folder.exists():
            return
        actors = self._actors(steps)
        held = {mode: play(act, self.acting, self.evaluation_seeds) for mode, act in actors.items()}
        count = len(self.evaluation_seeds)
        for measured in held.values():
            check_played(self.acting, measured, count)
        returns = {f"held_{mode}": episode_statistics(measured, count) for mode, measured in held.items()}
        first = RECORDING_SEED + LEVEL_SEEDS * LEVELS.index(level)
        seeds = range(first, first + episodes)
        ways = list(actors.values())
        played = play(ways[0], self.acting, seeds[::2]) + play(ways[-1], self.acting, seeds[1::2])
        played.sort(key=lambda episode: episode.seed)
        check_played(self.acting, played, episodes)
        recorded = returns["recorded"] = episode_statistics(played, episodes)
        write_episodes(folder, self.entry, played, self._metadata(level, steps, returns, seeds))
        print_line(f"{level}: {describe_counts(recorded)}, return {recorded['return_mean']:.0f}, in {folder}")

    def report(self, level: str) -> dict[str, Any]:
        """Return ``path``, ``steps``, ``returns`` and ``score`` of a recorded level; the score may be None."""
        folder = self._folder(level)
        metadata = read_json(folder / "data" / "metadata.json")
        returns, steps = metadata["returns"], metadata["environment_steps"]
        score = self.entry.score(returns["recorded"]["return_mean"])
        return {"path": str(folder), "steps": steps, "returns": returns, "score": score}

    def _folder(self, level: str) -> Path:
        return self.run_dir / "data" / (level_id(self.dataset_id, level) or level)

    def _rollout(self) -> int:
        """Return the steps of each environment between two checks of their total: the largest possible overshoot."""
        frequency, unit = getattr(self.agent, "train_freq", (1, None))
        steps = frequency * (self.entry.episode_steps if unit and unit.value == "episode" else 1)
        return max(steps, getattr(self.agent, "n_steps", 1))

    def _actors(self, steps: int) -> dict[str, Act]:
        if not steps:
            return {"stochastic": random_actor(self.agent.action_space.low, self.agent.action_space.high)}
        load_snapshot(self.agent, self.run_dir / "behaviour" / f"snapshot_{steps:08d}.safetensors")
        return {"deterministic": AgentActor(self.agent, True), "stochastic": AgentActor(self.agent, False)}

    def _metadata(self, level: str, steps: int, returns: dict, recorded: range) -> dict[str, Any]:
        seeds = {"selection": self.selection_seeds, "held": self.evaluation_seeds, "recorded": recorded}
        algorithm = self.config.algorithm if steps else "random"
        acting = ACTING if steps else "uniformly random actions"
        description = f"{level} level of {self.entry.gym_id}; {acting}"
        name = level_id(self.dataset_id, level)
        return describe(self.entry, level, description, algorithm, returns, name) | {
            "license": "Apache-2.0, recorded by weit_rl",
            "environment_steps": steps,
            "training": asdict(self.config) if steps else {},
            "seeds": {name: [span[0], span[-1]] for name, span in seeds.items()},
        }
