"""Make small things where the docs have placeholders: data sets, banks, runs, agents, images, sounds, checkpoints."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import torch
from gymnasium import make
from PIL import Image
from scipy.io import wavfile
from stable_baselines3 import SAC

from weit_rl import collect, pretrain, train, vision
from weit_rl.data import load_trajectories
from weit_rl.data.formats.d4rl import ARRAYS
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose

CLASSES, FILES = ("cats", "dogs"), 12
SHORT = ["batch_size=4", "threads=1", "scaler_steps=2", "train_steps=3"]
A_RUN = re.compile(r"(?<![\w/])(?<!run_dir=)(?<!--out )runs/\w+(?=[],\s]|$)")  # that a command reads, not one it makes


def make_agent(env: str, path: Path) -> None:
    SAC("MlpPolicy", make(env_entry(env).gym_id), buffer_size=100, policy_kwargs={"net_arch": [8]}).save(path)


def make_set(env: str, path: Path) -> None:
    """Record an agent with weit_rl.collect."""
    make_agent(env, path.with_suffix(".zip"))
    words = [f"agent={path.with_suffix('.zip')}", "allow_pickle=true", "episodes=10", f"run_dir={path}"]
    collect.main(compose("collect", ["mode=record", f"env={env}", *words]))


def make_hdf5(env: str, path: Path) -> None:
    """Write a recorded set in D4RL's layout."""
    make_set(env, path.with_suffix(""))
    t = load_trajectories(str(path.with_suffix("")), env_entry(env))
    ends = np.zeros(t.steps, bool)
    ends[t.starts[1:] - 1] = True
    with h5py.File(path, "w") as file:
        for name, array in zip(ARRAYS, (t.observations, t.actions, t.rewards, np.zeros_like(ends), ends), strict=True):
            file.create_dataset(name, data=array)


def make_bank(env: str, path: Path) -> None:
    words = [f"env={env}", "steps=3", "score_sizes=[]", "batch_size=4", f"run_dir={path.with_suffix('')}"]
    pretrain.main(compose("pretrain", words))
    shutil.copy(path.with_suffix("") / "bank.safetensors", path)


def make_run(env: str, path: Path) -> None:
    words = [
        *SHORT,
        f"env={env}",
        "size=160x5",
        "episodes=1",
        "validation_episodes=1",
        "init=scratch",
        f"run_dir={path}",
    ]
    train.main(compose("train", words))


def make_classifier(env: str, path: Path) -> None:
    vision.main(compose("vision", [*SHORT, "size=32x1", "init=scratch", f"run_dir={path}"]))


def make_images(env: str, path: Path) -> None:
    for place, rng in _files(path):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(place.with_suffix(".png"))


def make_sounds(env: str, path: Path) -> None:
    for place, rng in _files(path):
        wavfile.write(place.with_suffix(".wav"), 16_000, rng.integers(-9999, 9999, 8000, dtype=np.int16))


def _files(path: Path) -> Iterator[tuple[Path, np.random.Generator]]:
    for seed, name in enumerate(CLASSES):
        (path / name).mkdir(parents=True)
        yield from ((path / name / str(number), np.random.default_rng([seed, number])) for number in range(FILES))


def make_autoencoder(env: str, path: Path) -> None:
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    AutoencoderKL(3, 3, **blocks, block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4).save_pretrained(path)


def make_timm(env: str, path: Path) -> None:
    """Save a ViT of timm with heads of 64 channels, as a pickle or as safetensors."""
    from safetensors.torch import save_file
    from timm.models.vision_transformer import VisionTransformer

    net = VisionTransformer(224, 16, embed_dim=128, depth=3, num_heads=2, num_classes=5)
    (torch.save if path.suffix == ".pth" else save_file)(net.state_dict(), path)


MAKERS: dict[str, Callable[[str, Path], None]] = {
    "path/to/set": make_set,
    "path/to/d4rl.hdf5": make_hdf5,
    "path/to/hopper.hdf5": lambda env, path: make_hdf5("Hopper", path),
    "path/to/bank.safetensors": make_bank,
    "path/to/agent.zip": make_agent,
    "path/to/folder": make_images,
    "path/to/wavs": make_sounds,
    "path/to/vae": make_autoencoder,
    "path/to/timm.safetensors": make_timm,
    "FILE.pth": make_timm,
}
ENDS = ("evaluation.json", "bank.safetensors")  # what a run writes last
RUNS = {"classifier": make_classifier, "policy": make_run}


class Fixtures:
    """Fixtures that are made when a command first names them.

    Args:
        folder: an empty folder for them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = cache(self._make)

    def put(self, command: str, env: str, page: Path) -> None:
        """Put what a command's placeholders name into the folder of its page.

        Args:
            command: as the docs have it.
            env: its environment, for which data, banks and agents are made.
            page: the folder in which it will run.
        """
        for name in [name for name in MAKERS if re.search(rf"{re.escape(name)}(?![\w/])", command)]:
            (page / name).parent.mkdir(parents=True, exist_ok=True)
            (page / name).unlink(missing_ok=True)  # the link of another environment
            (page / name).symlink_to(self._made(name, env))
        kind = "classifier" if "weit_rl.vision" in command else "policy"
        for name in [*A_RUN.findall(command), *re.findall(r"\bRUN\b", command)]:
            if not (page / name).exists():  # no command of the page made it
                shutil.copytree(self._made(kind, env), page / name)
        for name in re.findall(r"\bresume=(\S+)", command):
            for end in ENDS:  # as if that run had been stopped
                (page / name / end).unlink(missing_ok=True)

    def _make(self, name: str, env: str) -> Path:
        path = self._folder / env.replace("/", "-") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (MAKERS | RUNS)[name](env, path)
        return path
