"""Small good files of every kind that the package reads, and their readers."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import torch
from gymnasium.spaces import Box
from minari.data_collector import EpisodeBuffer  # imported once, before readers fork
from minari.dataset.minari_storage import MinariStorage
from minari.serialization import serialize_space
from PIL import Image
from safetensors.torch import save_file

from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import PlayedEpisode
from weit_rl.agents.sb3_zip import algorithm_of, check_sizes, read_settings
from weit_rl.common.sizes import Size
from weit_rl.comparison.cell import fields_of
from weit_rl.comparison.grid import Grid
from weit_rl.comparison.rates import best_rates, read_rates, write_rates
from weit_rl.comparison.results import COUNTS, Results
from weit_rl.comparison.run_records import RecordedRun
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.data import Trajectories, load_trajectories
from weit_rl.data.formats import FORMATS
from weit_rl.data.formats.d4rl import ARRAYS
from weit_rl.data.images import load_images
from weit_rl.envs.registry import env_entry
from weit_rl.models import MODELS
from weit_rl.models.timm_checkpoint import load_timm
from weit_rl.options.choices import check_numbers
from weit_rl.options.command import compose
from weit_rl.storage.json_file import read_json
from weit_rl.storage.tensor_file import read_tensors
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.checkpoint import load_network, load_training, save_network, save_training
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.pretrain_run import source_tensors
from weit_rl.workflows.run_launch import resumed_config
from weit_rl.workflows.run_setup import bank_network, bank_of

FILE = "x.safetensors"


@cache
def task() -> Control:
    """Return a control task with the smallest network and data."""
    rng = np.random.default_rng(0)
    arrays = (rng.normal(size=(40, 10)), rng.uniform(-1, 1, (40, 2)), rng.normal(size=40))
    data = Trajectories(*(array.astype(np.float32) for array in arrays), np.arange(0, 41, 10), {})
    return Control(env_entry("Reacher"), data, ControlConfig(model="mlp", context=1, tile=16, batch_size=4))


def make_network(folder: Path) -> None:
    save_network(folder / FILE, task().build(Size(32, 1)), task().card(Size(32, 1)))


def make_bank(folder: Path) -> None:
    bank = TemplateBank.from_plan(task().plan, 2)
    bank.source = source_tensors(WeiT(task().build(Size(32, 2)), bank, task().plan))
    bank.card |= {"size": [32, 2, 32], "model": "mlp", "names": ["Reacher"], "config": {"rtg": "latest"}}
    bank.card |= {"sizes_sampled": ["32x1", "32x2"]}
    bank.save(folder / FILE).with_suffix(".json").unlink()  # a copy of the card, which must be equal


def read_bank(folder: Path) -> Any:
    return bank_network(bank_of(TemplateBank.load(folder / FILE), task()), task())


def module() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return net, optimizer


def make_run(folder: Path) -> None:
    run = RunFolder.create(folder, "train", compose("train", ["env=Reacher", "size=32x1"]), 0)
    with (folder / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("step", "name", "value"), (10, "train/loss", 0.5), (10, "train/flops", 1e9)])
    report = {"return_mean": 1.0, "return_std": 0.5, "score": None, "flops": 1e9, "seconds": 2.0, "best": None}
    run.write_json("evaluation.json", report)
    run.close()


def read_run(folder: Path) -> Any:
    check_numbers(resumed_config("train", compose("train", [f"resume={folder}"])))
    recorded = RecordedRun(str(folder))
    return recorded.row("x", "last"), recorded.alike(), recorded.flops_at([5]), recorded.training_loss()


def grid() -> Grid:
    return Grid.of(compose("benchmark", ["env=Reacher", "methods=[weit]", "sizes=[32x1]", "seeds=[0]", "budgets=[0]"]))


def make_comparison(folder: Path) -> None:
    results = Results(folder, grid())
    results.begin().release()
    row = dict.fromkeys(fields_of(grid().kind), 1.5) | dict.fromkeys((*COUNTS, "steps"), 3)
    results.add(row | {"method": "weit", "size": "32x1", "source": "", "note": "", "env": "Reacher", "score": None})
    trial = {"method": "weit", "size": "64x5", "rate": 0.1, "value": 3.5, "note": ""}
    write_rates(folder, [trial, trial | {"rate": 0.3, "value": "", "note": "not defined"}])


def read_comparison(folder: Path) -> Any:
    results = Results(folder, grid())
    return results.rows, best_rates(read_rates(folder))


def make_hdf5(folder: Path) -> None:
    t = task().trajectories
    ends = np.zeros(t.steps, bool)
    ends[t.starts[1:] - 1] = True
    with h5py.File(folder / "x.hdf5", "w") as file:
        for name, array in zip(ARRAYS, (t.observations, t.actions, t.rewards, ends, ends), strict=True):
            file.create_dataset(name, data=array, compression="gzip" if name == "actions" else None)
        file.attrs["env_id"] = "Reacher-v5"


def make_minari(folder: Path) -> None:
    parts = [task().trajectories.subset([i]) for i in range(2)]
    episodes = [PlayedEpisode(i, np.vstack([p.observations, p.observations[-1:]]), p.actions, p.rewards, False)
                for i, p in enumerate(parts)]  # fmt: skip
    write_minari(folder / "set", env_entry("Reacher"), episodes, {"dataset_id": "x-v0", "env_id": "Reacher-v5"})


def make_arrow(folder: Path) -> None:
    t = task().trajectories
    storage = MinariStorage.new(folder / "set", *env_entry("Reacher").own_spaces, data_format="arrow")
    ends = {"terminations": np.zeros(10, bool), "truncations": np.arange(10) == 9}
    arrays = {"observations": t.observations[:11], "actions": t.actions[:10], "rewards": t.rewards[:10]}
    storage.update_episodes([EpisodeBuffer(seed=0, **arrays, **ends), EpisodeBuffer(seed=1, **arrays, **ends)])
    storage.update_metadata({"dataset_id": "x-v0", "minari_version": "0.5.0"})


def make_marked(folder: Path) -> None:
    t = task().trajectories
    arrays = {name: getattr(t, name) for name in ("observations", "actions", "rewards")}
    marks = {"is_first": np.arange(40) % 10 == 0, "episode_ends": np.array([10, 20, 30, 40]), "dones": np.zeros(40)}
    spec = gymnasium.make("Reacher-v5").spec.to_json()
    said = {"action_space": serialize_space(Box(-1, 1, (2,))), "observation_space": repr(Box(-9, 9, (10,)))}
    np.savez(folder / "a.npz", **arrays, **marks, **said, env_spec=spec, low=[-1, -1], high=[1, 1])


def make_npz(folder: Path) -> None:
    t = task().trajectories
    np.savez(folder / "a.npz", observations=t.observations[:9], actions=t.actions[:9], rewards=t.rewards[:9])
    np.savez_compressed(folder / "b.npz", obs=t.observations[:9], acts=t.actions[:9], rews=t.rewards[:9], env_id="R")


def pictures() -> dict[str, bytes]:
    rng, files = np.random.default_rng(0), {}
    kinds = ("png", "jpeg", "gif", "bmp", "ppm", "tiff", "webp")
    for number, kind in enumerate(kinds * 2):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, kind)
        files[f"{'ab'[number % 2]}/{number}.{kind}"] = file.getvalue()
    return files


def make_images(folder: Path) -> None:
    for name, data in pictures().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def make_archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pictures().items():
            archive.writestr(name, data)


def make_agent(folder: Path) -> None:
    space = {":type:": "<class 'gymnasium.spaces.box.Box'>", ":serialized:": "gASV"}
    policy = {"__module__": "stable_baselines3.sac.policies"}
    settings = {"observation_space": {**space, "_shape": [10]}, "action_space": {**space, "_shape": [2]}}
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("data", json.dumps({**settings, "policy_class": policy, "target_entropy": -2.0}))
        archive.writestr("policy.pth", b"never read")


def read_agent(folder: Path) -> Any:
    path = folder / "x.zip"
    settings = read_settings(path)
    check_sizes(settings, path, env_entry("Reacher"))
    return algorithm_of(settings, path, None)


def make_timm(folder: Path) -> None:
    net = MODELS.get("vit").build(Size(16, 1, 8), image_size=8, channels=3, classes=2)
    save_file({name: tensor for name, tensor in net.state_dict().items() if "image_" not in name}, folder / FILE)
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}))


def of_format(name: str, place: str = "") -> Callable[[Path], Any]:
    """Return a reader of a data format at a path below a folder."""

    def read(folder: Path) -> Any:
        path = folder / place
        if name == "npz":
            return Trajectories.join(*FORMATS.get(name).read(path))
        return FORMATS.get(name).read(path)

    return read


READERS: dict[str, tuple[Any, ...]] = {
    "tensor file": (make_network, lambda folder: read_tensors(folder / FILE)),
    "network": (make_network, lambda folder: load_network(folder / FILE)),
    "bank": (make_bank, read_bank),
    "training state": (lambda folder: save_training(folder / FILE, *module(), 3),
                       lambda folder: load_training(folder / FILE, *module())),
    "run folder": (make_run, read_run),
    "comparison": (make_comparison, read_comparison),
    "settings of collect": (lambda folder: (folder / "x.json").write_text('{"env": "Reacher", "steps": 10}') and None,
                            lambda folder: read_json(folder / "x.json")),
    "D4RL's HDF5": (make_hdf5, of_format("d4rl", "x.hdf5"), True),
    "Minari": (make_minari, of_format("minari", "set"), True),
    "Minari, Arrow": (make_arrow, of_format("minari", "set"), True),
    "npz with marks and spaces": (make_marked, lambda folder: load_trajectories(folder, env_entry("Reacher"))),
    "npz": (make_npz, of_format("npz")),
    "images, folder": (make_images, lambda folder: load_images(folder, image_size=8)),
    "images, archive": (make_archive, lambda folder: load_images(folder / "x.zip", image_size=8)),
    "Stable-Baselines3's zip": (make_agent, read_agent),
    "timm's checkpoint": (make_timm, lambda folder: load_timm(folder / FILE, head_dim=8)),
}  # fmt: skip
