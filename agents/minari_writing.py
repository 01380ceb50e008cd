"""Writing of played episodes in Minari's format, compressed."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from weit_rl.agents.recording import PlayedEpisode
from weit_rl.common.errors import UserError
from weit_rl.data.formats.minari_sets import STATES
from weit_rl.envs.registry import EnvEntry

LAYOUT = "0.5.0"  # the first Minari with this layout; a release refuses data that name a later version


def write_minari(folder: Path, entry: EnvEntry, episodes: Iterable[PlayedEpisode], metadata: dict[str, Any]) -> None:
    """Write ``folder/data/main_data.hdf5`` and ``metadata.json`` for Minari, complete or not at all.

    Actions are written in the environment's own units.

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
    """Return Gymnasium's spec, or None if JSON cannot hold it, as with an entry point that is a class."""
    import gymnasium

    spec = gymnasium.spec(entry.gym_id)
    try:
        spec.to_json()
    except (TypeError, ValueError):
        return None
    return spec


def _buffer(episode: PlayedEpisode) -> Any:
    from minari.data_collector import EpisodeBuffer

    ends = np.zeros((2, len(episode.rewards)), bool)
    ends[0 if episode.terminated else 1, -1] = True
    arrays = {name: getattr(episode, name) for name in ("observations", "actions", "rewards")}
    infos = None if episode.states is None else {STATES: episode.states}
    return EpisodeBuffer(seed=episode.seed, terminations=ends[0], truncations=ends[1], infos=infos, **arrays)


def _compress(path: Path) -> None:
    # Minari writes small chunks without compression: 1000 steps of HalfCheetah take 117 kB, and 94 kB after this.
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
