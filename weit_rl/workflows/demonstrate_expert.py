"""Record the scripted experts of one or several environments as Minari data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weit_rl.agents.demonstrations import Demonstrations, demonstrate, expert_of
from weit_rl.agents.metadata import describe
from weit_rl.agents.pictures import write_episodes
from weit_rl.agents.recording import episode_statistics
from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.output import print_line
from weit_rl.common.seeds import MOST_SEED, RECORDED
from weit_rl.data.minari_names import check_id
from weit_rl.envs.registry import EnvEntry, env_entry
from weit_rl.options.collect_options import CollectOptions
from weit_rl.storage.atomic_write import cannot_write_error
from weit_rl.workflows.record_agent import check_place, place_of

TRIES = 5  # most episodes played for each one that is asked for
RANGES = {"seed": (0, MOST_SEED), "episodes": (1, RECORDED.apart // TRIES), "noise": (0, 2)}
LEVEL = "expert"


def demonstrate_expert(cfg: CollectOptions) -> dict[str, Any]:
    """Record ``cfg.episodes`` successful episodes of every environment's expert.

    One environment is written to ``cfg.run_dir``, several to folders in it, by the names of the environments. Of
    several, those whose folder is there already are left as they are, so a stopped command goes on.

    Returns:
        For every environment by its name: ``path`` of the data set, ``played`` and ``failed`` episodes, ``returns``.

    Raises:
        UserError: if an environment has no expert or its expert never succeeds, a number is out of range, or the folder
            exists or cannot be written.
    """
    entries = [env_entry(name) for name in ([cfg.env] if isinstance(cfg.env, str) else cfg.env)]
    for name, (least, most) in RANGES.items():
        if not least <= cfg[name] <= most:
            raise UserError(f"{name}={cfg[name]}: must be {least} to {most}")
    check_id(cfg.dataset_id)
    for entry in entries:
        entry.check_renderer()
        expert_of(entry)
    if len(entries) == 1:
        folder = expand_home(cfg.run_dir or place_of(cfg.dataset_id) or f"runs/demonstrate-{entries[0].slug}")
        check_place(folder)
        return {entries[0].name: _record(cfg, entries[0], folder)}
    if cfg.dataset_id is not None:
        raise UserError(f"dataset_id={cfg.dataset_id}: names one set, and env names {len(entries)}; leave it out")
    root = expand_home(cfg.run_dir or f"runs/demonstrate-{entries[0].family or 'several'}")
    found = {entry: root / entry.slug for entry in entries}
    return {entry.name: _record(cfg, entry, folder) for entry, folder in found.items() if not folder.exists()}


def _record(cfg: CollectOptions, entry: EnvEntry, folder: Path) -> dict[str, Any]:
    first = RECORDED.of(cfg.seed)
    shown = demonstrate(entry, cfg.episodes, range(first, first + TRIES * cfg.episodes), cfg.noise)
    returns = episode_statistics(shown.episodes)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_episodes(folder, entry, shown.episodes, _metadata(cfg, entry, shown, returns))
    except OSError as error:
        raise cannot_write_error(folder, error) from error
    few = "" if len(shown.episodes) == cfg.episodes else f", fewer than the {cfg.episodes} asked for"
    left = f"{shown.failed} of {shown.played} episodes failed and are left out"
    print_line(f"{entry.name}: {len(shown.episodes)} demonstrations{few} ({left}), in {folder}")
    return {"path": str(folder), "played": shown.played, "failed": shown.failed, "returns": returns}


def _metadata(cfg: CollectOptions, entry: EnvEntry, shown: Demonstrations, returns: dict[str, Any]) -> dict[str, Any]:
    acting = f"executed with Gaussian noise of {cfg.noise:g}, labels are the expert's own" if cfg.noise else "clean"
    description = f"scripted expert of {entry.gym_id}, {acting}"
    seeds = [episode.seed for episode in shown.episodes]
    return describe(entry, LEVEL, description, "scripted", {"recorded": returns}, cfg.dataset_id) | {
        "license": "Apache-2.0, recorded by weit_rl",
        "noise": float(cfg.noise),
        "played_episodes": shown.played,
        "failed_episodes": shown.failed,
        **({"success_rate": 1.0} if entry.success else {}),
        "seeds": {"recorded": [seeds[0], seeds[-1]]},
    }
