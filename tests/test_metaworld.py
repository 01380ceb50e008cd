"""Meta-World: its tasks and groups, placements by seed, success as the score, and welds on the installed MuJoCo."""

import numpy as np
import pytest
import torch
from conftest import TINY
from shared_envs import METAWORLD, refusal

from weit_rl.agents.demonstrations import expert_of
from weit_rl.agents.evaluation import evaluate
from weit_rl.comparison.grid import Grid
from weit_rl.data.readers import shipped_levels
from weit_rl.envs.config_environments import bodies, expand_groups
from weit_rl.envs.metaworld_tasks import ML45_TEST, MT10, TASKS
from weit_rl.envs.registry import ENV_GROUPS, env_entry
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_card
from weit_rl.train import main as train

REACH = "metaworld/reach-v3"


def test_a_name_may_leave_out_the_version():
    assert env_entry("metaworld/drawer-open") is env_entry("metaworld/drawer-open-v3")
    assert env_entry("metaworld/drawer-open:pixels=64").name == "metaworld/drawer-open-v3:pixels=64"
    assert "did you mean metaworld/drawer-open-v3?" in refusal(env_entry, "metaworld/draver-open-v3")


@pytest.mark.parametrize(("group", "tasks"), [("MT10", 10), ("MT50", 50), ("ML45-train", 45), ("ML45-test", 5)])
def test_groups_are_lists_of_tasks(group, tasks):
    names = expand_groups(f"metaworld/{group}")
    assert len(set(names)) == tasks and all(env_entry(name).success for name in names)
    assert expand_groups(["Hopper", f"metaworld/{group}"]) == ["Hopper", *names]
    assert f"stands for {tasks} environments" in refusal(env_entry, f"metaworld/{group}")


def test_pictures_of_a_group_are_pictures_of_its_tasks():
    assert expand_groups("metaworld/MT10:pixels=32")[0] == f"{REACH}:pixels=32"


def test_train_and_test_tasks_are_all_tasks():
    train, test = (set(ENV_GROUPS.get(f"metaworld/ML45-{part}")) for part in ("train", "test"))
    assert not train & test and len(train | test) == 50


def test_tasks_of_a_family_are_one_body():
    cfg = compose("pretrain", ["env=[metaworld/reach, Hopper, metaworld/push]", "data=[a, b, c]"])
    first, second = bodies(cfg)
    assert (first.env, first.data) == (["metaworld/reach", "metaworld/push"], ["a", "c"])
    assert (second.env, second.data) == ("Hopper", "b")


@METAWORLD
def test_the_lists_are_meta_worlds():
    from metaworld import env_dict

    assert [f"{task}-v3" for task in TASKS] == list(env_dict.MT50_V3)
    assert [f"{task}-v3" for task in MT10] == list(env_dict.MT10_V3)
    assert [f"{task}-v3" for task in ML45_TEST] == list(env_dict.ML45_V3["test"])


@METAWORLD
def test_welds_fit_the_installed_mujoco():
    import mujoco

    sawyer = env_entry(REACH).make().unwrapped.sawyer
    (weld,) = sawyer.model.eq_data[sawyer.model.eq_type == mujoco.mjtEq.mjEQ_WELD]
    assert weld[:11].tolist() == [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5] and np.isfinite(weld).all()


def played(env, expert, seed, steps=500):
    """The observations of an episode, and its last step."""
    seen, last = [env.reset(seed=seed)[0]], ()
    for _ in range(steps):
        last = env.step(expert(seen[-1]))
        seen.append(last[0])
        if last[2] or last[3]:
            break
    return np.stack(seen), last


@METAWORLD
@pytest.mark.parametrize("task", ["drawer-open", "pick-place", "coffee-pull"])
def test_a_seed_gives_the_same_episode_whatever_was_played_before(task):
    entry = env_entry(f"metaworld/{task}")
    env, expert = entry.make(), expert_of(entry)
    first, _ = played(env, expert, 3)
    other, _ = played(env, expert, 4, steps=20)
    assert np.array_equal(first, played(env, expert, 3)[0]) and np.array_equal(
        first, played(entry.make(), expert, 3)[0]
    )
    assert not np.array_equal(first[0], other[0]) and not np.array_equal(first[0], env.reset()[0])


@METAWORLD
@pytest.mark.parametrize("task", ["button-press", "hand-insert", "stick-pull"])
def test_a_reset_is_that_of_meta_world(task):
    env = env_entry(f"metaworld/{task}").make().unwrapped
    first, _ = env.reset(seed=5)  # draws the placement, which stays frozen
    again, _ = type(env.sawyer).__mro__[1].reset(env.sawyer)
    assert np.allclose(first, again, atol=0)


@METAWORLD
def test_the_goal_is_seen_and_an_episode_ends_at_success():
    entry = env_entry(REACH)
    env = entry.make()
    seen, (_, _, terminated, truncated, info) = played(env, expert_of(entry), 0)
    assert np.allclose(seen[:, -3:], env.unwrapped.sawyer._target_pos, atol=1e-6) and np.any(seen[0, -3:])
    assert terminated and not truncated and info["success"] and len(seen) < 200


@METAWORLD
def test_an_episode_without_success_ends_after_500_steps():
    env = env_entry("metaworld/push").make()
    _, (_, _, terminated, truncated, info) = played(env, lambda seen: np.zeros(4, np.float32), 0, steps=600)
    assert truncated and not terminated and not info["success"]


@METAWORLD
def test_the_score_is_the_share_of_episodes_with_success(monkeypatch):
    from weit_rl.agents import evaluation

    def rollout(net, envs, seeds, on_step=None, failed=None, succeeded=None):
        for env, seed in zip(envs, seeds, strict=True):
            _, last = played(env, expert_of(env_entry(REACH)) if seed % 2 else lambda seen: np.zeros(4), seed)
            evaluation.note_end(last[4], seed, failed, succeeded)
        return np.ones(len(envs))

    monkeypatch.setattr(evaluation, "rollout", rollout)
    metrics = evaluate(torch.nn.Identity(), env_entry(REACH), 4, 0)
    assert metrics["score"] == 50.0 and metrics["success_rate"] == 0.5 and metrics["failed_episodes"] == 0
    assert env_entry(REACH).score_name == "success %" and env_entry(REACH).score(3.0) is None


@METAWORLD
def test_a_tiny_network_is_trained_on_what_ships_and_judged_by_success(tmp_path):
    words = [*TINY, f"env={REACH}", "init=scratch", "model=mlp", "rtg=none", "size=32x1", "train_steps=4"]
    report = train(compose("train", [*words, "validation_episodes=1", f"run_dir={tmp_path / 'run'}"]))
    assert report["score"] in (0, 100) and report["behaviour"]["score"] == 100
    assert report["best"]["score"] == 100 * report["best"]["success_rate"]
    assert "validation_score" in read_card(tmp_path / "run" / "checkpoints" / "best.safetensors")


def test_demonstrations_of_mt10_ship():
    assert all(shipped_levels(env_entry(name)) == ["expert"] for name in ENV_GROUPS.get("metaworld/MT10"))


def test_the_benchmark_compares_by_success():
    grid = Grid.of(compose("benchmark", [f"env={REACH}", "model=mlp"]))
    assert grid.kind.measure.columns[0] == "score" and grid.kind.measure.word == "success"
    assert Grid.of(compose("benchmark", ["env=Hopper"])).kind.measure.word == "return"
