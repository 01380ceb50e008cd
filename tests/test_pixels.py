"""Environments seen in pictures: names, what is drawn, stored, stacked and trained on, and what is refused."""

import subprocess
import sys

import gymnasium as gym
import h5py
import numpy as np
import pytest
import torch
from conftest import TINY, TINY_PRETRAIN, TINY_TRAIN, small_net
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_checker import check_env
from test_envs import SUITE

import weit_rl.envs.camera
from weit_rl.agents.pictures import Replay, write_episodes
from weit_rl.agents.recording import play, random_actor
from weit_rl.bank import TemplateBank
from weit_rl.collect import main as collect
from weit_rl.command import compose
from weit_rl.data import Trajectories, Windows, load_trajectories
from weit_rl.envs import rendering
from weit_rl.envs.camera import renderer
from weit_rl.envs.dm_control_suite import _forget_opengl
from weit_rl.envs.entry import env_entry
from weit_rl.envs.pixels import with_pixels
from weit_rl.errors import UserError
from weit_rl.evaluate import main as evaluate
from weit_rl.models import MODELS
from weit_rl.pretrain import main as pretrain
from weit_rl.sizes import Size
from weit_rl.start import network_of_size
from weit_rl.train import main as train
from weit_rl.weit import WeiT

SMALL = "Reacher:pixels=16"


draws = pytest.mark.usefixtures("screen")


@pytest.fixture(scope="session")
def screen():
    try:
        renderer()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def drawn(screen, tmp_path_factory):
    """Three recorded episodes of Reacher, drawn; and the folder of their states."""
    folder = tmp_path_factory.mktemp("drawn")
    entry = env_entry("Reacher")
    episodes = play(random_actor(-np.ones(2, np.float32), np.ones(2, np.float32)), entry, [3, 4, 5])
    write_episodes(folder / "states", entry, episodes, {"dataset_id": "weit_rl/reacher/mine-v0"})
    words = ["mode=render", "env=Reacher", "pixels=16", f"data={folder / 'states'}", f"run_dir={folder / 'pixels'}"]
    collect(compose("collect", words))
    return folder


def test_pictures_are_part_of_a_name():
    assert with_pixels("Ant", False) == "Ant" and with_pixels("Ant:pixels=84", False) == "Ant:pixels=84"
    assert with_pixels("Ant", True) == "Ant:pixels=64" and with_pixels("Ant:pixels=84", 32) == "Ant:pixels=32"
    entry = env_entry("HalfCheetah:torso=1.25:limbs=0.75:pixels=32")
    assert (entry.name, entry.pixels, entry.stack) == ("HalfCheetah:limbs=0.75:torso=1.25:pixels=32", 32, 3)
    assert entry.states is env_entry("HalfCheetah:limbs=0.75:torso=1.25") and entry.states.states is entry.states
    assert env_entry("HalfCheetah:pixels=64").score(12135) == pytest.approx(100)
    both = entry.beside_state
    assert both.name == f"{entry.name}+state" and both is both.beside_state is env_entry(both.name)
    assert both.states is entry.states and both.shapes == entry.shapes and not entry.with_state
    assert [one.gives for one in (entry, both, both.states)] == ["pictures", "states and pictures", "states"]
    for bad in ("8", "large", "1000", "64:torso=2", "64+states", "+state"):
        with pytest.raises(UserError, match="must be 16 to 512, at the end of the name"):
            env_entry(f"HalfCheetah:pixels={bad}")


@draws
@pytest.mark.parametrize("name", ["Reacher", pytest.param("dmc/cartpole-swingup", marks=SUITE), "Hopper:limbs=1.25"])
def test_an_environment_gives_the_last_three_frames(name):
    entry = env_entry(f"{name}:pixels=32")
    env, other = entry.make(), entry.make()
    space = spaces.Box(0, 255, (9, 32, 32), np.uint8)
    seen, _ = env.reset(seed=0)
    assert env.observation_space == space and seen in space and seen.std() > 1
    assert np.array_equal(seen[:3], seen[3:6]) and np.array_equal(seen[3:6], seen[6:])
    other.reset(seed=1)  # one camera serves both
    for _ in range(5):
        before = seen
        seen, *_ = env.step(env.action_space.high)
        other.step(other.action_space.low)
    assert np.array_equal(seen[:6], before[3:]) and not np.array_equal(seen[6:], seen[3:6])
    again, _ = env.reset(seed=0)
    assert np.array_equal(again, other.reset(seed=0)[0]) and np.array_equal(again[:3], again[6:])


@draws
@pytest.mark.parametrize("name", ["Reacher", "gym:InvertedPendulum-v5"])
def test_an_environment_gives_its_state_and_behind_it_the_pictures(name):
    both, pictures, states = (env_entry(f"{name}{end}").make() for end in (":pixels=16+state", ":pixels=16", ""))
    assert both.observation_space.shape == (states.observation_space.shape[0] + 9 * 16 * 16,)
    seen = [env.reset(seed=3)[0] for env in (both, states, pictures)]
    for step in range(4):
        assert seen[0].dtype == np.float32 and seen[0] in both.observation_space
        assert np.array_equal(seen[0], np.concatenate([seen[1], seen[2].reshape(-1)]))
        action = np.sin(step + np.arange(both.action_space.shape[0])).astype(np.float32)
        (seen[0], reward, *_), (seen[1], *_), (seen[2], other, *_) = (e.step(action) for e in (both, states, pictures))
        assert reward == other


@draws
@pytest.mark.filterwarnings("ignore:.*")
def test_stable_baselines3_takes_it_as_pictures():
    env = env_entry("Reacher:pixels=64").make()
    check_env(env)
    agent = PPO("WeiTPolicy", env, n_steps=8, batch_size=8, n_epochs=1, policy_kwargs={"size": "32x1"}, device="cpu")
    assert agent.learn(8).predict(env.reset()[0])[0].shape == (2,)


@draws
def test_episodes_are_drawn_as_they_were_played_and_each_frame_is_stored_once(drawn):
    entry = env_entry(SMALL)
    read, states = load_trajectories(drawn / "pixels", entry), load_trajectories(drawn / "states", env_entry("Reacher"))
    assert read.observations.dtype == np.uint8 and read.observations.shape == (150, 3, 16, 16)
    assert np.array_equal(read.actions, states.actions) and np.array_equal(read.rewards, states.rewards)
    with h5py.File(drawn / "pixels" / "data" / "main_data.hdf5") as file:
        assert file["episode_0"]["observations"].shape == (51, 3, 16, 16)
        assert file["episode_0"].attrs["seed"] == 3 and bool(file["episode_0"]["truncations"][-1])
    env, windows = entry.make(), Windows(read, 1)
    seen, _ = env.reset(seed=4)
    for step in range(4):
        batch = windows.gather(torch.tensor([50 + step]))
        assert np.array_equal(batch["observations"][0, 0].numpy(), seen)
        seen, *_ = env.step(read.actions[50 + step])


@draws
def test_a_drawn_set_keeps_the_states_for_models_that_see_both(drawn):
    entry = env_entry(SMALL).beside_state
    read, states = load_trajectories(drawn / "pixels", entry), load_trajectories(drawn / "states", entry.states)
    assert np.array_equal(read.states, states.observations) and read.observation_dim == [10, 9, 16, 16]
    np.testing.assert_array_equal(read.statistics().std, states.statistics().std)
    env, (training, held) = entry.make(), read.split(0.4, 0)
    assert np.array_equal(np.sort(np.concatenate([training.states, held.states]), 0), np.sort(read.states, 0))
    twice = Trajectories.mix([held, read])
    seen, _ = env.reset(seed=4)
    for step in range(4):
        first = 50 * held.episodes + 50 + step
        batch = Windows(twice, 2).gather(torch.tensor([first]))
        assert np.array_equal(batch["observations"][0, min(step, 1)].numpy(), seen)
        seen, *_ = env.step(read.actions[50 + step])


@draws
def test_a_set_without_states_is_refused_where_they_are_wanted(drawn, tmp_path, refused):
    entry = env_entry(SMALL)
    bare = Trajectories.join([(np.zeros((5, 3, 16, 16), np.uint8), np.zeros((5, 2)), np.zeros(5))] * 2, {})
    for i in range(bare.episodes):
        one = bare.subset([i])
        np.savez(tmp_path / f"{i}.npz", observations=one.observations, actions=one.actions, rewards=one.rewards)
    assert load_trajectories(tmp_path, entry).episodes == 2
    words = ["env=Reacher", "pixels=16", "model=multimodal", "init=scratch", f"data={tmp_path}", *TINY]
    assert "has no states of Reacher beside its pictures, and this model sees both; draw a" in refused("train", *words)


def test_frames_are_stacked_within_their_episode_and_padding_is_dark():
    frames = np.arange(1, 8, dtype=np.uint8).reshape(7, 1, 1, 1) * np.ones((1, 3, 16, 16), np.uint8)
    parts = [(frames[:4], np.zeros((4, 2)), np.ones(4)), (frames[4:], np.zeros((3, 2)), np.ones(3))]
    data = Trajectories.join(parts, {}, stack=3)
    batch = Windows(data, 2).gather(torch.tensor([0, 3, 4, 6]))
    assert batch["observations"].dtype == torch.uint8 and batch["observations"].shape == (4, 2, 9, 16, 16)
    shown = batch["observations"][:, :, ::3, 0, 0].tolist()
    assert shown == [[[1, 1, 1], [0, 0, 0]], [[1, 2, 3], [2, 3, 4]], [[5, 5, 5], [0, 0, 0]], [[5, 5, 6], [5, 6, 7]]]
    assert data.subset([1]).stack == 3 and data.observation_dim == [9, 16, 16]
    assert {float(part.item(0)) for part in data.statistics()} == {127.5}


@draws
@pytest.mark.parametrize(("model", "env"), [("conv", SMALL), ("video", SMALL), ("multimodal", f"{SMALL}+state")])
def test_a_bank_and_a_network_are_trained_and_scored_in_pictures(model, env, drawn, tmp_path):
    words = ["env=Reacher", "pixels=16", f"model={model}", f"data={drawn / 'pixels'}"]
    pretrain(compose("pretrain", [*TINY_PRETRAIN, *words, "score_sizes=[]", "steps=4", f"run_dir={tmp_path / 'pre'}"]))
    words += [f"bank={tmp_path / 'pre' / 'bank.safetensors'}", f"run_dir={tmp_path / 'run'}"]
    report = train(compose("train", [*TINY_TRAIN, *words, "scaler_steps=2", "train_steps=2"]))
    assert (report["env"], report["size"]) == (env, "96x3") and np.isfinite(report["return_mean"])
    again = evaluate(compose("evaluate", [f"run={tmp_path / 'run'}", "checkpoint=last", "episodes=1", "device=cpu"]))
    assert again["return_mean"] == pytest.approx(report["return_mean"], rel=1e-6)


@pytest.mark.parametrize("edge", [16, 20, 64, 84])
@torch.no_grad()
def test_tubelets_cover_pictures_of_any_size(edge):
    net = small_net("video", observation_dim=[9, edge, edge]).eval()
    inputs, seen = (torch.zeros(1, 1, 2), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long)), set()
    dark = torch.zeros(1, 1, 9, edge, edge, dtype=torch.uint8)
    for place in (0, edge - 1):
        lit = dark.clone()
        lit[..., place, place] = 255
        seen.add(round(float((net(lit, *inputs) - net(dark, *inputs)).abs().sum()), 7))
    assert len(seen) == 2 and 0 not in seen


def test_networks_do_not_depend_on_the_size_of_pictures():
    net = small_net("conv").eval()
    inputs = torch.zeros(1, 1, 2), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long)
    for edge in (16, 64, 84):
        assert net(torch.full((1, 1, 9, edge, edge), 200, dtype=torch.uint8), *inputs).shape == (1, 1, 2)


class Screen(gym.Env):
    """Pictures without a simulator; three steps."""

    observation_space, action_space = spaces.Box(0, 255, (9, 64, 64), np.uint8), spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.see(), {}

    def see(self):
        return self.np_random.integers(0, 256, (9, 64, 64), np.uint8)

    def step(self, action):
        self.t += 1
        return self.see(), 1.0, False, self.t == 3, {}


class Buttons(Screen):
    """For algorithms that choose."""

    action_space = spaces.Discrete(2)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """A bank of pictures, untrained, and its network at 64x2."""
    family, path = MODELS.get("conv"), tmp_path_factory.mktemp("bank") / "bank.safetensors"
    options = {"observation_dim": [9, 64, 64], "action_dim": 2, "rtg": "none"}
    plan, net = family.plan(16), family.build(Size(32, 2), **options)
    torch.nn.init.normal_(net.head.weight, std=1.0)
    bank = TemplateBank.from_plan(plan, 4)
    bank.source = {f"own.{key}": value.detach() for key, value in WeiT(net, bank, plan).own().items()}
    bank.source |= {f"buffer.{name}": value for name, value in net.named_buffers()}
    bank.card |= {"size": [32, 2, 32], "sizes_sampled": ["32x2"], "model": "conv", "config": {"rtg": "none"}}
    bank.save(path)
    return path, network_of_size(bank, net, family.build(Size(64, 2), **options), plan).materialize()


@pytest.mark.parametrize("mode", ["dense", "scalers"])
@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_an_actor_of_stable_baselines3_sees_what_its_bank_saw(algorithm, mode, bank):
    path, net = bank
    own = {"n_steps": 8, "batch_size": 8, "n_epochs": 1} if algorithm is PPO else {"buffer_size": 50}
    start = {"bank": str(path), "size": "64x2", "mode": mode}
    agent = algorithm("WeiTPolicy", Screen(), policy_kwargs=start, device="cpu", **own)
    seen = np.random.default_rng(0).integers(0, 256, (3, 9, 64, 64), np.uint8)
    nothing = torch.zeros(3, 1, 2), torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.long)
    wanted = net(torch.from_numpy(seen)[:, None], *nothing)[:, 0].detach().numpy()
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(agent.predict(seen, deterministic=True)[0], wanted, atol=1e-4)


def test_dqn_chooses_by_pictures(bank):
    agent = DQN(
        "WeiTPolicy", Buttons(), policy_kwargs={"bank": str(bank[0]), "size": "32x1"}, buffer_size=50, device="cpu"
    )
    assert agent.predict(Screen().reset(seed=0)[0])[0] in (0, 1)


def test_a_bank_of_states_is_none_for_pictures():
    with pytest.raises(UserError, match="is of model=mlp; WeiTPolicy takes model=conv or convnext_policy here"):
        PPO("WeiTPolicy", Screen(), policy_kwargs={"bank": "weit_rl/assets/banks/HalfCheetah-mlp.safetensors"})


@draws
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["model=multimodal"],
            "model=multimodal: sees states and pictures, and env=HalfCheetah gives states; add pixels=true, or use",
        ),
        (
            ["model=conv"],
            "model=conv: sees pictures, and env=HalfCheetah gives states; add pixels=true, or use model=dt,",
        ),
        (
            ["pixels=true"],
            "model=dt: sees states, and env=HalfCheetah:pixels=64 gives pictures; leave pixels out, or use",
        ),
        (["model=conv", "pixels=true"], "data='expert': neither a file"),
        (["pixels=8"], "must be 16 to 512"),
        (["pixels=yes"], "pixels=yes: must be true, false or a number of pixels such as 84"),
    ],
)
def test_what_a_policy_cannot_see_is_refused(refused, words, says):
    assert says in refused("train", *TINY, *words, "init=scratch")


@draws
def test_what_mujoco_does_not_simulate_has_no_pictures():
    entry = env_entry("gym:Pendulum-v1:pixels=64")
    for ask in (entry.make, lambda: entry.shapes):
        with pytest.raises(UserError, match="env gym:Pendulum-v1:pixels=64: pictures are drawn by MuJoCo"):
            ask()


@draws
def test_data_of_the_other_kind_are_refused(drawn, refused):
    words = ["env=Reacher", "init=scratch", "episodes=1"]
    says = refused("train", *words, "pixels=16", "model=conv", f"data={drawn / 'states'}")
    assert "observation size 10, but Reacher:pixels=16 has 3x16x16" in says and "collect mode=render makes" in says
    assert "observation size 3x16x16, but Reacher has 10" in refused("train", *words, f"data={drawn / 'pixels'}")


@draws
def test_what_cannot_be_played_again_is_refused(drawn, refused, tiny_data, tmp_path):
    assert "holds no reset seeds" in refused("collect", "mode=render", f"data={tiny_data}", f"run_dir={tmp_path / 'x'}")
    assert "must be given with mode=render" in refused("collect", "mode=render")
    assert "is for mode=inspect or render" in refused("collect", "data=expert")
    entry = env_entry(SMALL)
    episodes = play(random_actor(-np.ones(2, np.float32), np.ones(2, np.float32)), entry.states, [3])
    episodes[0].observations[7] += 0.1
    with pytest.raises(UserError, match="data x: played again from seed 3 it goes another way from step 7 on"):
        list(Replay(entry, "data x")(episodes))


@draws
def test_behaviour_data_are_recorded_in_pictures(tmp_path):
    words = ["env=Reacher", "pixels=16", "steps=120", "n_envs=2", "snapshot_every=60", f"run_dir={tmp_path / 'run'}"]
    words += ["levels.expert=2", "levels.medium=0", "levels.random=2", "selection_episodes=1", "evaluation_episodes=1"]
    words += ["hyperparameters={learning_starts: 60, policy_kwargs: {net_arch: [8]}}"]
    found = collect(compose("collect", words))
    for level in ("expert", "random"):
        read = load_trajectories(found[level]["path"], env_entry(SMALL))
        assert read.episodes == 2 and read.observations.shape[1:] == (3, 16, 16)
        assert read.returns().mean() == pytest.approx(found[level]["returns"]["recorded"]["return_mean"], abs=1e-3)


def test_without_a_renderer_there_is_one_clear_line(monkeypatch, refused):
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    weit_rl.envs.camera.renderer.cache_clear()
    try:
        says = refused("train", "model=conv", "pixels=true", "data=x", "init=scratch")
    finally:
        weit_rl.envs.camera.renderer.cache_clear()
    assert "pixels: nothing here can render (nothing: " in says and "apt-get install libosmesa6" in says


def test_a_failed_renderer_leaves_nothing_that_keeps_others_from_working(monkeypatch):
    monkeypatch.setenv("PYOPENGL_PLATFORM", "egl")
    monkeypatch.setitem(sys.modules, "OpenGL.fake", sys)
    _forget_opengl()
    assert "OpenGL.fake" not in sys.modules


def test_the_renderer_is_the_first_that_works(monkeypatch):
    tried = []

    def run(command, env, **_):
        tried.append(env["MUJOCO_GL"])
        return subprocess.CompletedProcess(command, int(env["MUJOCO_GL"] != "osmesa"), stderr="no\nno display")

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(rendering.subprocess, "run", run)
    assert rendering.working_renderer("pixels", "") == "osmesa" and tried == ["egl", "osmesa"]
