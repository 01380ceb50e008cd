"""The two parts of the benchmark, tuning and reported, as ``frozen.yaml`` fixes them, and the options of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from weit_rl.comparison.grid import Grid
from weit_rl.comparison.sources import Sources
from weit_rl.envs.config_environments import expand_groups
from weit_rl.envs.registry import env_entry

FROZEN = Path(__file__).parent / "frozen.yaml"
PARTS = ("tuning", "reported")


@dataclass(frozen=True)
class Part:
    """The tasks, sizes, seeds and options of the tuning or of the reported part.

    Attributes:
        name: ``"tuning"`` or ``"reported"``.
        pretrain: environments of pre-training.
        tasks: the targets, names without their family.
        demonstrations: of a target.
        sizes: of the targets, none of them sampled in pre-training.
        seeds: of pre-training, training and test episodes.
        budgets: gradient steps on a target.
        episodes: test episodes of a cell.
        methods: names of the compared methods, ours first.
        first: the order of demonstrations and budgets, the most informative first.
        options: of pre-training, of networks and of targets.
    """

    name: str
    pretrain: tuple[str, ...]
    tasks: tuple[str, ...]
    demonstrations: tuple[int, ...]
    sizes: tuple[str, ...]
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    episodes: int
    methods: tuple[str, ...]
    first: Mapping[str, list[int]] = field(hash=False)
    options: Mapping[str, Any] = field(hash=False)

    def sources(self, data: str, out: Path) -> Sources:
        """Return the sources of all targets: banks and networks of many tasks.

        Args:
            data: folder of the demonstrations.
            out: folder of the benchmark's results.
        """
        given = self.options["pretraining"]
        return self._sources(self.pretrain, data, out, given["batch_size"], given["data_episodes"], 1)

    def targets(self, data: str, out: Path, task: str, demonstrations: int) -> Sources:
        """Return the same sources, with the options of the runs of a task's cells."""
        size = self.options["targets"]["batch_size"]
        return self._sources(env_of(task), data, out, size, demonstrations, self.episodes)

    def _sources(
        self, env: str | tuple[str, ...], data: str, out: Path, batch_size: int, data_episodes: int, episodes: int
    ) -> Sources:
        networks, pretraining = dict(self.options["networks"]), dict(self.options["pretraining"])
        grid = Grid(
            data=data,
            methods=self.methods,
            sizes=self.sizes,
            budgets=self.budgets,
            seeds=self.seeds,
            batch_size=batch_size,
            pretrain_steps=pretraining.pop("steps"),
            data_episodes=data_episodes,
            model=networks.pop("model"),
            env=env,  # type: ignore[arg-type]  # several tasks are one body
            episodes=episodes,
            model_options=networks.pop("model_options"),
            options=networks,
            bank_options=pretraining,
        )
        return Sources(grid, (out / "sources" / self.name).absolute(), threads=1)


def env_of(task: str) -> str:
    """Return the environment of a task."""
    return env_entry(f"metaworld/{task}").name


def read_part(name: str, path: Path = FROZEN) -> Part:
    """Read a part; what the tuning part lacks is as in the reported part."""
    frozen = yaml.safe_load(path.read_text())
    chosen = {**frozen["reported"], **frozen[name]}
    left_out = {env_of(task) for task in chosen.pop("pretrain_without")}
    tasks = [env for env in expand_groups(chosen.pop("pretrain")) if env not in left_out]
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in chosen.items()}
    options = {key: frozen[key] for key in ("pretraining", "networks", "targets")}
    return Part(name=name, pretrain=tuple(tasks), first=frozen["first"], options=options, **plain)
