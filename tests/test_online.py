"""Going on online: the network that offline data trained becomes an agent's actor, and comes back as a plain one."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from conftest import TINY

from weit_rl.agents.imitation import Imitation
from weit_rl.agents.online import ALGORITHMS, DETERMINISTIC, NOISE, WarmUp, actor_of, copy_actor, make_online
from weit_rl.common.errors import Interrupted
from weit_rl.common.sizes import Size
from weit_rl.envs.registry import env_entry
from weit_rl.evaluate import main as evaluate
from weit_rl.models import MODELS
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_card
from weit_rl.train import main as train
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows import online_stage as online

SMALL = {"learning_starts": 10, "batch_size": 8}
ON = {"ppo": {"n_steps": 20, "batch_size": 20}, "a2c": {}}
WORDS = [*TINY, "size=32x2", "validation_episodes=1", "critic_warmup=20", "agent_steps=60"]


@pytest.fixture(autouse=True)
def few_parts(monkeypatch):
    monkeypatch.setattr(online, "PARTS", 4)


def options(name):
    return ON.get(name, SMALL)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Save the checkpoint of an untrained policy for HalfCheetah."""
    torch.manual_seed(0)
    kwargs = {"observation_dim": 17, "action_dim": 6, "rtg": "none"}
    net = MODELS.get("mlp").build(Size(32, 2), **kwargs)
    path = tmp_path_factory.mktemp("start") / "net.safetensors"
    save_network(path, net, {"model": "mlp", "size": [32, 2, 32], "options": kwargs, "env": "HalfCheetah"})
    return path


def weights(agent):
    return torch.cat([p.detach().flatten() for part in actor_of(agent).values() for p in part.parameters()])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_only_critics_learn_at_first(name, start):
    agent = make_online(name, env_entry("HalfCheetah"), 1, 0, options(name), checkpoint=str(start))
    critic = agent.critic if hasattr(agent, "critic") else agent.policy.value_net
    before, judged = weights(agent), [p.clone() for p in critic.parameters()]
    agent.learn(40, callback=WarmUp(41, lambda step: None))
    assert torch.equal(weights(agent), before)
    assert not all(map(torch.equal, judged, critic.parameters()))
    agent.learn(40, callback=WarmUp(41, lambda step: None), reset_num_timesteps=False)
    assert not torch.equal(weights(agent), before)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_plain_network_acts_as_the_agent_does(name, start):
    agent = make_online(name, env_entry("HalfCheetah"), 1, 0, options(name), checkpoint=str(start)).learn(60)
    net = load_network(start)[0]
    copy_actor(agent, net)
    states = torch.randn(4, 1, 17)
    nothing = torch.zeros(4, 1)
    with torch.no_grad():
        wanted = net(states, states, nothing, nothing)[:, 0].numpy()
    assert np.allclose(agent.predict(states[:, 0].numpy(), deterministic=True)[0], wanted, atol=1e-5)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_imitation_holds_an_actor_near_its_data(name, start):
    generator = torch.Generator().manual_seed(0)
    states, actions, errors = torch.randn(64, 17, generator=generator), torch.full((64, 6), 0.8), []
    for weight in (0, 1000):
        agent = make_online(name, env_entry("HalfCheetah"), 1, 0, options(name), checkpoint=str(start))
        if weight:
            Imitation(agent, lambda step: (states, actions), weight)
        agent.learn(60)
        with torch.no_grad():
            actor = actor_of(agent)
            errors.append((torch.tanh(actor["head"](actor["trunk"](states))) - actions).square().mean().item())
    assert errors[1] < 0.8 * errors[0]


def test_imitation_moves_the_actor_to_its_data(start):
    agent = make_online("ppo", env_entry("HalfCheetah"), 1, 0, ON["ppo"], checkpoint=str(start))
    agent.policy.to("meta")
    Imitation(agent, lambda step: (torch.ones(8, 17), torch.zeros(8, 6)), 1)()
    assert actor_of(agent)["head"].weight.grad.device.type == "meta"


def test_imitation_adds_its_gradient_to_the_algorithms(start):
    agent = make_online("td3", env_entry("HalfCheetah"), 1, 0, SMALL, checkpoint=str(start))
    states, actions, drawn = torch.ones(8, 17), torch.zeros(8, 6), []
    hook = Imitation(agent, lambda step: (drawn.append(step), (states, actions))[1], 3)
    weight = actor_of(agent)["head"].weight
    weight.grad = torch.ones_like(weight)
    hook()
    actor = actor_of(agent)
    error = (torch.tanh(actor["head"](actor["trunk"](states))) - actions).square().mean()
    size = torch.stack(agent.critic(states, actions)).abs().mean().detach()
    (wanted,) = torch.autograd.grad(3 * size / 2.5 * error, [weight])
    assert torch.allclose(weight.grad, 1 + wanted, atol=1e-6) and wanted.abs().max() > 1e-3
    hook(), agent.__dict__.update(_n_updates=7), hook()
    assert drawn == [0, 1, 70_000]
    actor["head"].requires_grad_(False), actor["trunk"].requires_grad_(False)
    hook()
    assert len(drawn) == 3  # critics learn alone


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize(("given", "spread"), [({}, NOISE), ({"action_noise": 0.3}, 0.3)])
def test_actors_without_a_spread_explore_with_noise(name, given, spread, start):
    kwargs = {**given, "learning_starts": 0, "gradient_steps": 0, "buffer_size": 600}
    agent = make_online(name, env_entry("HalfCheetah"), 2, 0, kwargs, checkpoint=str(start)).learn(600)
    seen, done = (getattr(agent.replay_buffer, part)[:300] for part in ("observations", "actions"))
    mean = agent.predict(seen.reshape(600, -1), deterministic=True)[0].reshape(done.shape)
    assert np.std((done - mean)[abs(mean) < 0.1]) == pytest.approx(spread, rel=0.15)


def test_an_untrained_actor_without_a_spread_goes_online(tiny_data):
    asked = words(tiny_data, "td3", "train_steps=0")
    assert online.OnlineRun(compose("train", asked)).agent(size="32x1").learn(12).num_timesteps == 12


def words(data, name="sac", *more):
    agent = f"agent_options={json.dumps(options(name))}".replace('"', "")
    return [*WORDS, f"data={data}", "init=scratch", "train_steps=5", f"agent={name}", agent, *more]


@pytest.mark.parametrize("name", ["sac", "ppo"])
def test_a_run_with_an_online_stage_is_evaluated_like_any_other(name, tiny_data, tmp_path):
    report = train(compose("train", words(tiny_data, name, f"run_dir={tmp_path / 'run'}")))
    assert report["agent"] == name and report["agent_steps"] == 60 and np.isfinite(report["return_mean"])
    series = RunFolder.open(tmp_path / "run").metrics()
    steps = [step for step, _ in series["validation/return"]]
    assert steps[0] == 0 and steps[-1] >= 65 and len(steps) == len(set(steps)) > 4
    again = evaluate(compose("evaluate", [f"run={tmp_path / 'run'}", "episodes=1", "checkpoint=last"]))
    assert again["return_mean"] == pytest.approx(report["return_mean"])
    net, card = load_network(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert card["options"]["rtg"] == "none" and net.rtg == "none"


@pytest.mark.slow
def test_a_stopped_run_resumes_where_it_was(tiny_data, tmp_path, monkeypatch):
    on_step, seeds, seed = WarmUp.on_step, [], ALGORITHMS["sac"].set_random_seed

    def stopping(self):
        if self.model.num_timesteps == 37:
            os.kill(os.getpid(), signal.SIGTERM)
        return on_step(self)

    monkeypatch.setattr(WarmUp, "on_step", stopping)
    with pytest.raises(Interrupted, match=r"stopped by SIGTERM after environment step 37 of 60; go on with.* resume="):
        train(compose("train", words(tiny_data, "sac", f"run_dir={tmp_path / 'run'}")))
    assert read_card(tmp_path / "run" / "checkpoints" / "online_state.safetensors")["step"] == 37
    monkeypatch.setattr(ALGORITHMS["sac"], "set_random_seed", lambda agent, x: seeds.append(x) or seed(agent, x))
    report = train(compose("train", [f"resume={tmp_path / 'run'}"]))
    assert report["agent_steps"] == 60 and seeds[-1] == 37  # not the episodes of the beginning once more
    steps = [step for step, _ in RunFolder.open(tmp_path / "run").metrics()["validation/return"]]
    assert steps == sorted(set(steps)) and steps[-1] >= 65


BAD = {  # what Stable-Baselines3 itself would stumble over only in the middle of the training, or not in one line
    "policy_kwargs: 5": "TypeError: policy_kwargs must be a mapping",
    "buffer_size: 10000000000000": "MemoryError: Unable to allocate",
    "batch_size: abc, learning_starts: 5": "TypeError: batch_size must be an integer",
    "gradient_steps: 1.5": "TypeError: gradient_steps must be an integer",
    "learning_starts: abc": "TypeError: learning_starts must be an integer",
    "tau: abc": "TypeError: tau must be a number",
    "tensorboard_log: 5": "TypeError: tensorboard_log must be a text",
    "optimize_memory_usage: true": "ValueError: optimize_memory_usage: a stopped training could not go on",
    "train_freq: 0": "ValueError: train_freq must be 1 or more",
    "action_noise: loud": "TypeError: action_noise must be a number",
    "action_noise: -0.1": "TypeError: action_noise must be a number",
}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("agent=sarsa", "unknown agent 'sarsa'"),
        ("model=dt", "agent=sac: takes model=mlp, not dt"),
        ("agent_options={learning_rat: 1}", "sac refuses them"),
        *((f"agent_options={{{options}}}", f"sac refuses them ({message}") for options, message in BAD.items()),
        ("agent_steps=0", "agent_steps=0: must be 1 or more"),
        ("imitation=-1", "imitation=-1.0: must be 0 or more"),
        ("critic_warmup=-1", "critic_warmup=-1: must be 0 or more"),
        ("n_envs=0", "n_envs=0: must be 1 or more"),
    ],
)
def test_bad_options_are_refused(refused, tiny_data, tmp_path, word, message):
    asked = [w for w in words(tiny_data) if w.partition("=")[0] != word.partition("=")[0]]
    assert message in refused("train", *asked, f"run_dir={tmp_path / 'run'}", word)


def test_bad_options_of_ppo_are_refused(refused, tiny_data, tmp_path):
    asked = [w for w in words(tiny_data, "ppo", "train_steps=0") if not w.startswith("agent_options=")]
    for options, name in (("gamma: x", "gamma"), ("action_noise: 0.1", "action_noise"), ("target_kl: x", "target_kl")):
        assert name in refused("train", *asked, f"run_dir={tmp_path / 'run'}", f"agent_options={{{options}}}")
