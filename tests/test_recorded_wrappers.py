"""Data recorded through wrappers: scaled by the set's own spaces, or refused; the same in every format."""

import json
import warnings

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from minari.data_collector import EpisodeBuffer
from shared_envs import refusal

from weit_rl.collect import main
from weit_rl.data import load_trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.workflows.render_data import recorded

NAMED = "mine/pendulum/wrapped-v0"
NAME = "gym:Pendulum-v1"
PENDULUM = env_entry(NAME)  # acts in [-2, 2]
OWN = gymnasium.make("Pendulum-v1").action_space


def record(env, root, monkeypatch, **options):
    """Record a Minari set of two episodes of random actions in a wrapped environment, as Minari writes it."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    env.action_space.seed(0)
    buffers = [episode(env, seed) for seed in range(2)]
    named = {"observation_space": env.observation_space, "action_space": env.action_space}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari's, on metadata it would like
        minari.create_dataset_from_buffers(NAMED, buffers, env=env, algorithm_name="random", **named, **options)
    env.close()
    return root / NAMED


def episode(env, seed):
    observation, _ = env.reset(seed=seed)
    rows = []
    for step in range(12):
        action = env.action_space.sample()
        after, reward, *_ = env.step(action)
        rows.append((observation, action, reward, False, step == 11))
        observation = after
    seen, *others = (list(column) for column in zip(*rows, strict=True))
    names = ("actions", "rewards", "terminations", "truncations")
    laid = dict(zip(names, map(np.asarray, others), strict=True))
    seen = [*seen, observation]
    if isinstance(observation, dict):
        return EpisodeBuffer(seed=seed, observations={k: np.stack([o[k] for o in seen]) for k in observation}, **laid)
    return EpisodeBuffer(seed=seed, observations=np.stack(seen), **laid)


def pendulum(**options):
    return gymnasium.make("Pendulum-v1", max_episode_steps=12, **options)


def torques(folder):
    """Return the torques of the motor; the square of a torque is part of the reward."""
    stored = list(minari.MinariDataset(folder / "data").iterate_episodes())
    seen = np.concatenate([episode.observations[:-1] for episode in stored])
    angle = np.arctan2(seen[:, 1], seen[:, 0])
    rewards = np.concatenate([episode.rewards for episode in stored])
    return np.sqrt(np.maximum(0, (-rewards - angle**2 - 0.1 * seen[:, 2] ** 2) / 0.001))


@pytest.mark.parametrize(
    ("wrap", "scaled"),
    [
        (lambda env: env, False),
        (lambda env: wrappers.RescaleAction(env, -1, 1), True),
        (lambda env: wrappers.RescaleAction(env, np.float32([0]), np.float32([5])), True),
        (lambda env: wrappers.TransformAction(env, lambda a: 2 * a, spaces.Box(-1, 1, (1,))), True),
        (lambda env: wrappers.RecordEpisodeStatistics(wrappers.TimeLimit(env, 12)), False),
        (lambda env: wrappers.RescaleAction(wrappers.FlattenObservation(env), -1, 1), True),
    ],
)
def test_actions_are_read_as_the_torques_of_the_motor(wrap, scaled, tmp_path, monkeypatch):
    folder = record(wrap(pendulum()), tmp_path, monkeypatch)
    read = load_trajectories(folder, PENDULUM)
    assert np.allclose(np.abs(2 * read.actions[:, 0]), torques(folder), atol=0.05)
    assert read.actions.std() > 0.4 and read.info["scaled"] == scaled
    json.dumps(read.info)


def test_inspect_says_that_actions_were_scaled_and_render_plays_them(tmp_path, monkeypatch, capsys):
    folder = record(wrappers.RescaleAction(pendulum(), -1, 1), tmp_path, monkeypatch)
    facts = main(compose("collect", ["mode=inspect", f"env={NAME}", f"data={folder}"]))[str(folder)]
    assert facts["scaled"] and facts["action_space"] == "[-1, 1]" and facts["outside"] == 0
    assert "recorded in the bounds [-1, 1], scaled from there" in capsys.readouterr().out
    played, _ = recorded(str(folder), PENDULUM)
    env = PENDULUM.make()
    for one in played:
        env.reset(seed=one.seed)
        rewards = [env.step(action)[1] for action in one.actions]
        assert np.allclose(rewards, one.rewards, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*WARN")
def test_clipped_actions_are_read_as_applied(tmp_path, monkeypatch):
    folder = record(wrappers.ClipAction(pendulum()), tmp_path, monkeypatch)
    read = load_trajectories(folder, PENDULUM)
    assert np.allclose(np.abs(2 * read.actions[:, 0]), torques(folder), atol=0.05) and abs(read.actions).max() <= 1


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (wrappers.NormalizeObservation, ["observations went through NormalizeObservation"]),
        (lambda env: wrappers.NormalizeReward(wrappers.RescaleAction(env, -1, 1)), ["rewards went", "NormalizeReward"]),
        (lambda env: wrappers.RescaleObservation(env, -1, 1), ["RescaleObservation"]),
        (lambda env: wrappers.FrameStackObservation(env, 2), ["FrameStackObservation"]),
        (lambda env: wrappers.StickyAction(env, 0.5), ["actions went", "StickyAction"]),
        (lambda env: wrappers.TransformAction(env, np.tanh, spaces.Box(-np.inf, np.inf, (1,))),
         ["Box [-inf, inf] of shape (1,)", "Box [-2, 2] of shape (1,)"]),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*WARN", "ignore:.*not serializable")
def test_wrappers_that_change_the_meaning_are_refused(wrap, words, tmp_path, monkeypatch):
    said = refusal(load_trajectories, record(wrap(pendulum()), tmp_path, monkeypatch), PENDULUM)
    assert all(word in said for word in words) and "wrapped-v0" in said, said


class Mine(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """A wrapper nobody here knows."""

    def __init__(self, env):
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)


def test_wrappers_that_the_environment_has_too_are_no_difference(tmp_path, monkeypatch):
    folder = record(wrappers.NormalizeObservation(pendulum()), tmp_path, monkeypatch)
    spec = gymnasium.envs.registration.WrapperSpec
    same = spec("NormalizeObservation", "gymnasium.wrappers:NormalizeObservation", {"epsilon": 1e-8})
    gymnasium.register("Normalised-v0", "gymnasium.envs.classic_control:PendulumEnv", additional_wrappers=(same,),
                       max_episode_steps=200)  # fmt: skip
    try:
        with pytest.warns(UserWarning, match=r"recorded in Pendulum-v1, not in Normalised-v0"):
            assert load_trajectories(folder, env_entry("gym:Normalised-v0")).episodes == 2
    finally:
        del gymnasium.registry["Normalised-v0"]


def test_unknown_wrappers_and_settings_are_a_warning(tmp_path, monkeypatch):
    folder = record(Mine(pendulum(g=5.0, render_mode="rgb_array")), tmp_path, monkeypatch)
    with pytest.warns(UserWarning) as told:
        load_trajectories(folder, PENDULUM)
    lines = [str(one.message) for one in told]
    assert len(lines) == 2 and "recorded through Mine," in lines[0] and "other settings than here: g" in lines[1]


def test_a_warning_moves_no_cursor(tmp_path):
    spec = {"id": "Pendulum-v1", "kwargs": {}, "additional_wrappers": [{"name": "A\x1b[2J\nB", "kwargs": None}]}
    with pytest.warns(UserWarning, match=r"through A \[2J B, which") as told:
        load_trajectories(write("npz", tmp_path, arrays(2), {"env_spec": json.dumps(spec)}), PENDULUM)
    assert all(str(one.message).isprintable() for one in told)


def test_other_bounds_of_observations_are_a_warning(tmp_path, monkeypatch):
    other = spaces.Box(-1, 1, (3,))
    env = wrappers.TransformObservation(pendulum(), lambda seen: seen / [1, 1, 8], other)
    folder = record(env, tmp_path, monkeypatch)
    with pytest.warns(UserWarning, match=r"observations lie in \[-1, 1\], .*'s lie in \[-1, 1\] and \[-8, 8\]"):
        load_trajectories(folder, PENDULUM)


# --- the same said by other formats


def arrays(most):
    rng = np.random.default_rng(0)
    ends = np.arange(20) % 10 == 9
    return {"observations": rng.uniform(-1, 1, (20, 3)), "actions": rng.uniform(-most, most, (20, 1)),
            "rewards": rng.normal(size=20), "terminals": ends & False, "timeouts": ends}  # fmt: skip


SAID = [
    {"action_space": repr(spaces.Box(-1, 1, (1,)))},
    {"action_space": minari.serialization.serialize_space(spaces.Box(-1, 1, (1,)))},
    {"action_low": np.float32([-1]), "action_high": np.float32([1])},
    {"action_space_low": -1.0, "action_space_high": 1},
    {"low": np.float32([-1]), "high": np.float32([1])},
    {"max_action": 1.0},
]


def write(kind, folder, content, said):
    if kind == "npz":
        np.savez(folder / "x.npz", **content, **said)
        return folder / "x.npz"
    with h5py.File(folder / "x.hdf5", "w") as file:
        file.update(content)
        (file if kind == "arrays" else file.attrs).update(said)
    return folder / "x.hdf5"


@pytest.mark.parametrize("kind", ["npz", "attributes", "arrays"])
@pytest.mark.parametrize("said", SAID, ids=lambda said: "-".join(said))
def test_other_formats_say_their_action_space_too(kind, said, tmp_path):
    content = arrays(1)
    read = load_trajectories(write(kind, tmp_path, content, said), PENDULUM)
    assert np.allclose(read.actions, content["actions"]) and read.info["scaled"] and read.episodes == 2


@pytest.mark.parametrize("kind", ["npz", "attributes"])
def test_sets_without_spaces_are_in_the_environments_units(kind, tmp_path):
    content = arrays(2)
    read = load_trajectories(write(kind, tmp_path, content, {}), PENDULUM)
    assert np.allclose(read.actions, content["actions"] / 2) and not read.info["scaled"]


@pytest.mark.parametrize("kind", ["npz", "attributes"])
def test_a_set_without_spaces_whose_actions_stop_at_1_is_a_warning(kind, tmp_path):
    there = arrays(2)
    there["actions"] = np.clip(there["actions"], -1, 1)
    with pytest.warns(UserWarning, match="does not state its action space; .*action_low") as told:
        read = load_trajectories(write(kind, tmp_path, there, {}), PENDULUM)
    assert abs(read.actions).max() == 0.5 and len(told) == 1 and "in [-2, 2]; if" in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_trajectories(write(kind, tmp_path, there, {"max_action": 1.0}), PENDULUM)


@pytest.mark.parametrize("kind", ["npz", "attributes"])
def test_other_formats_name_wrappers_too(kind, tmp_path):
    spec = wrappers.NormalizeObservation(pendulum()).spec.to_json()
    said = refusal(load_trajectories, write(kind, tmp_path, arrays(2), {"env_spec": spec}), PENDULUM)
    assert "NormalizeObservation" in said


@pytest.mark.parametrize("kind", ["npz", "attributes"])
def test_actions_outside_the_space_that_is_said_are_refused(kind, tmp_path):
    said = refusal(load_trajectories, write(kind, tmp_path, arrays(2), {"max_action": 1.0}), PENDULUM)
    assert "[-1, 1]" in said and "[-2, 2]" in said and "reach from -1.6" in said


@pytest.mark.parametrize("text", ["Box(low, high)", '{"type": "Box"}', '{"type": "Discrete", "n": 3}', "[" * 9999, ""])
def test_a_space_that_is_not_understood_is_a_warning(text, tmp_path):
    with pytest.warns(UserWarning, match="names an action space that cannot be parsed"):
        read = load_trajectories(write("npz", tmp_path, arrays(2), {"action_space": text}), PENDULUM)
    assert abs(read.actions).max() <= 1


def test_pickled_spaces_are_not_read(tmp_path):
    content = {"action_space": np.array(OWN, dtype=object)}
    with pytest.warns(UserWarning, match="action_space is a pickled object, which is not read"):
        load_trajectories(write("npz", tmp_path, arrays(2), content), PENDULUM)


def test_files_of_one_folder_that_disagree_are_refused(tmp_path):
    for name, said in (("a", {"max_action": 1.0}), ("b", {})):
        np.savez(tmp_path / f"{name}.npz", **arrays(1), **said)
    assert "different spaces" in refusal(load_trajectories, tmp_path, PENDULUM)


def test_a_minari_set_without_spaces_runs_nothing(tmp_path, monkeypatch):
    folder = record(pendulum(), tmp_path, monkeypatch)
    card = folder / "data" / "metadata.json"
    stored = json.loads(card.read_text())
    spec = json.loads(stored["env_spec"]) | {
        "entry_point": "pathlib:Path.touch",
        "kwargs": {"self": str(tmp_path / "x")},
    }
    card.write_text(json.dumps({"env_spec": json.dumps(spec)} | {k: v for k, v in stored.items() if "sp" not in k}))
    assert "no observation_space and no action_space" in refusal(load_trajectories, folder, PENDULUM)
