"""Share small networks of every kind, tiny data, and the real data where they are present."""

import importlib
import os
import signal
from contextlib import contextmanager
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
import torch

from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import PlayedEpisode
from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.data import Trajectories
from weit_rl.envs.any_gymnasium import entry_of
from weit_rl.envs.camera import renderer
from weit_rl.envs.gymnasium_mujoco import EPISODE_STEPS
from weit_rl.envs.registry import env_entry
from weit_rl.models import BOTH, MODELS
from weit_rl.options.command import command, compose
from weit_rl.pretrain import main as pretrain
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.train import main as train
from weit_rl.workflows.checks_before_torch import check_before_torch

torch.set_num_threads(1)  # on tiny tensors a second thread only waits, long where the cores are busy
SHORT_EPISODE = 60  # steps; of 1,000, a training of 12 steps spends nine tenths of its time on episodes
SHARED = Path(__file__).parents[2] / "shared" / "data"
TINY = ["batch_size=4", "context=5", "threads=1", "episodes=1", "device=cpu"]
TINY_PRETRAIN = [*TINY, "size=64x2", "widths=[32, 64]", "depths=[1, 2]", "score_sizes=[32x1]", "rank=4", "steps=12"]
TINY_TRAIN = [*TINY, "size.width=96", "size.depth=3", "scaler_steps=12", "train_steps=12", "validation_episodes=1"]
ALIKE = {"observation_dim": 5, "action_dim": 2, "context": 4, "max_steps": 12}
PICTURES = {**ALIKE, "observation_dim": [9, 16, 16]}
IMAGES = {"image_size": 8, "channels": 3, "classes": 2}
OPTIONS = {  # what the constructor of each model needs
    **dict.fromkeys(("dt", "mlp", "tcn"), ALIKE),
    **dict.fromkeys(("conv", "convnext_policy", "video"), PICTURES),
    "multimodal": {**ALIKE, "observation_dim": [5, 9, 16, 16]},
    **dict.fromkeys(("vit", "convnext", "dit"), IMAGES),
}


def small_net(model="dt", width=16, depth=2, seed=0, **options):
    """Build a network of a registered model with 8-channel heads."""
    if library := {"classification": "timm", "diffusion": "diffusers"}.get(MODELS.get(model).task):
        pytest.importorskip(library, reason=f"model {model} is of {library}: pip install 'weit_rl[vision]'")
    torch.manual_seed(seed)
    net = MODELS.get(model).build(Size(width, depth, head_dim=8), **{**OPTIONS[model], **options})
    for p in net.parameters() if model == "dit" else ():  # what starts at zero hides all the rest
        torch.nn.init.normal_(p, std=0.02 if not p.any() else float(p.detach().std()))
    return net


def small_inputs(model="dt", batch=3, steps=4, seed=1):
    """Draw the arguments that the network takes."""
    generator = torch.Generator().manual_seed(seed)
    if MODELS.get(model).sees == "images":
        pixels = torch.randint(0, 256, (batch, 3, 8, 8), generator=generator, dtype=torch.uint8)
        times = torch.randint(0, 1000, (batch,), generator=generator)
        return (pixels / 127.5 - 1, times, times % 3) if model == "dit" else (pixels,)
    states = torch.randn(batch, steps, 5, generator=generator)
    pictures = torch.randint(0, 256, (batch, steps, 9, 16, 16), generator=generator, dtype=torch.uint8)
    both = torch.cat([states, pictures.flatten(2)], dim=2)
    observations = {"states": states, "pictures": pictures, BOTH: both}[MODELS.get(model).sees]
    actions = torch.rand(batch, steps, 2, generator=generator) * 2 - 1
    times = torch.arange(steps).expand(batch, -1)
    return observations, actions, torch.rand(batch, steps, generator=generator) * 1000, times


@pytest.fixture(scope="session", autouse=True)
def short_episodes():
    """End the episodes of Gymnasium's MuJoCo environments after 60 steps, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, steps in EPISODE_STEPS.items():
            patch.setattr(gymnasium.spec(f"{name}-v5"), "max_episode_steps", min(steps, SHORT_EPISODE))
        yield


@pytest.fixture(scope="session", autouse=True)
def few_resamples():
    """Take intervals from 400 resamples, a fifth of what users get; nothing here looks at their third digit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weit_rl.comparison.statistics.RESAMPLES", 400)
        yield


@contextmanager
def as_long_as_for_users():
    """Give episodes their whole length, such as where other processes play the same ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, steps in EPISODE_STEPS.items():
            patch.setattr(gymnasium.spec(f"{name}-v5"), "max_episode_steps", steps)
        entry_of.cache_clear()  # an entry of gym:ID holds its environment's number of steps
        yield
    entry_of.cache_clear()


@pytest.fixture
def full_episodes():
    with as_long_as_for_users():
        yield


@pytest.fixture
def task():
    """Make a control task on HalfCheetah-shaped data whose action is a function of the observation."""
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(160, 17)).astype(np.float32)
    actions = np.tanh(observations[:, :6] + observations[:, 6:12]).astype(np.float32)
    rewards = rng.normal(1, 0.1, 160).astype(np.float32)
    data = Trajectories(observations, actions, rewards, np.arange(0, 161, 40), {})
    return Control(env_entry("HalfCheetah"), data, ControlConfig(context=4, batch_size=8))


@pytest.fixture
def picture_task():
    """Make a control task on small pictures whose action is how bright two of their quarters are."""
    rng = np.random.default_rng(0)
    quarters = rng.integers(0, 256, (320, 3, 2, 2), dtype=np.uint8)
    actions = (quarters[:, 0, :, 0] / 127.5 - 1).astype(np.float32)
    frames = quarters.repeat(8, axis=2).repeat(8, axis=3)
    rewards = rng.normal(1, 0.1, 320).astype(np.float32)
    data = Trajectories(frames, actions, rewards, np.arange(0, 321, 40), {}, stack=3)
    return Control(env_entry("dmc/reacher-easy:pixels=16"), data, ControlConfig(model="conv", batch_size=16))


@pytest.fixture
def both_task(picture_task):
    """Add states to the task of pictures: the first one gives one half of the action, the rest nothing."""
    states = np.random.default_rng(1).normal(size=(320, 5)).astype(np.float32)
    states[:, 0] = 2 * picture_task.trajectories.actions[:, 0]
    data = replace(picture_task.trajectories, states=states)
    return Control(picture_task.entry.with_pictures_and_state, data, replace(picture_task.config, model="multimodal"))


@pytest.fixture
def shared():
    """Return the folder of shared real data; users do not have it."""
    if not SHARED.is_dir():
        pytest.skip("the shared data are beside the project only where it is developed")
    return SHARED


draws = pytest.mark.usefixtures("screen")


@pytest.fixture(scope="session")
def screen():
    """Skip a test that draws if no renderer is installed; one that is installed must work."""
    try:
        renderer()
    except UserError as error:
        if find_library("OSMesa") and not os.environ.get("MUJOCO_GL"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """Write three short episodes of random actions in D4RL's layout, at a path that needs quoting."""
    env = env_entry("HalfCheetah").make()
    env.action_space.seed(0)
    rows = []
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        for step in range(60):
            action = env.action_space.sample()
            after, reward, terminated, *_ = env.step(action)
            rows.append((observation, action, reward, terminated, step == 59))
            observation = after
    env.close()
    path = tmp_path_factory.mktemp("a b=c, [d]") / "x=1, [2] 'y'.hdf5"
    names = ("observations", "actions", "rewards", "terminals", "timeouts")
    write_hdf5(path, dict(zip(names, map(np.asarray, zip(*rows, strict=True)), strict=True)))
    return path


def write_hdf5(path, arrays):
    """Write arrays by name as an HDF5 file."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


@pytest.fixture(scope="session")
def minari_folder(tmp_path_factory):
    """Write a Minari data set of three short episodes; return it and the same as trajectories."""
    made = made_up([5, 9, 3])
    episodes = []
    for i in range(made.episodes):
        one = made.subset([i])
        seen = np.concatenate([one.observations, one.observations[-1:]])
        episodes.append(PlayedEpisode(i, seen, one.actions, one.rewards, terminated=i == 1))
    folder = tmp_path_factory.mktemp("sets") / "mine"
    metadata = {"dataset_id": "weit_rl/halfcheetah/mine-v0", "level": "mine", "env_id": "HalfCheetah-v5"}
    write_minari(folder, env_entry("HalfCheetah"), episodes, metadata)
    return folder, made


@pytest.fixture(scope="session")
def tiny_bank(tiny_data, tmp_path_factory):
    """Pre-train a bank for a few steps at 64 x 2."""
    folder = tmp_path_factory.mktemp("bank") / "pre, [1]=2"
    pretrain(compose("pretrain", [*TINY_PRETRAIN, f"data={tiny_data}", f"run_dir={folder}"]))
    return folder / "bank.safetensors"


@pytest.fixture(scope="session")
def tiny_run(tiny_data, tiny_bank, tmp_path_factory):
    """Finish a run of a size the tiny bank never saw."""
    folder = tmp_path_factory.mktemp("run") / "r [1], x=2"
    train(compose("train", [*TINY_TRAIN, f"data={tiny_data}", f"bank={tiny_bank}", f"run_dir={folder}"]))
    return folder


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Run a command that must refuse; returns the line it printed."""
    handler = signal.getsignal(signal.SIGTERM)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(verb, *words, folder=tmp_path):
        before, _ = contents(folder), capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            command(verb, importlib.import_module(f"weit_rl.{verb}").main, words, check_before_torch)
        err = capfd.readouterr().err
        assert stop.value.code == 2 and err.startswith(f"weit_rl {verb}: error: ") and err.count("\n") == 1, err
        assert contents(folder) == before, "something was written"
        return err

    yield run
    signal.signal(signal.SIGTERM, handler)


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def words(tiny_data, tiny_bank, tmp_path):
    """Return good words for each verb, to which a bad one is added."""
    data, run = f"data={tiny_data}", f"run_dir={tmp_path / 'run'}"
    return {"train": [*TINY_TRAIN, data, f"bank={tiny_bank}", run], "pretrain": [*TINY_PRETRAIN, data, run]}


def made_up(lengths, observation=17, action=6, seed=0):
    """Draw random episodes of these lengths."""
    rng = np.random.default_rng(seed)

    def episode(steps):
        rewards = rng.normal(size=steps).astype(np.float32)
        return rng.normal(size=(steps, observation)), np.tanh(rng.normal(size=(steps, action))), rewards

    return Trajectories.join([episode(steps) for steps in lengths], {"path": "made up"})
