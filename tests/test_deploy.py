"""Networks as single files: a step with its memory acts as the policy does, in every format, without torch too."""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import OPTIONS, small_net

from weit_rl.agents.evaluation import WindowMemory
from weit_rl.common.errors import UserError
from weit_rl.deploy import onnx_policy, policy_step
from weit_rl.deploy.classifier import classifier_graph
from weit_rl.deploy.export_limits import Limit
from weit_rl.deploy.measure import ExportedClassifier, difference, exported_policy, median_seconds
from weit_rl.deploy.registry import FORMATS, GRAPHS
from weit_rl.envs.action_box import ActionBox
from weit_rl.models import models_of

BOX = ActionBox(np.array([-2, -1], np.float32), np.array([2, 3], np.float32))
ORIGINAL = {"rtg": "every", "past_actions": True, "positions": "episode"}
BANDED = {"attention": "band", "band": 2, "positions": "none"}
POLICIES = [(model, {}) for model in models_of("control")]
POLICIES += [
    ("dt", ORIGINAL),
    ("dt", {"rtg": "none"}),
    ("mlp", {"rtg": "none"}),
    ("dt", {**ORIGINAL, "context": 1}),
    ("dt", BANDED),
]
named = [f"{model}-{'-'.join(map(str, options.values()))}" for model, options in POLICIES]
policies = pytest.mark.parametrize(("model", "options"), POLICIES, ids=named)


@pytest.fixture
def graph_of(monkeypatch):
    """Build the graph of a small policy, as if there were an environment for it."""
    entry = SimpleNamespace(name="Toy", gym_id="Toy-v0", action_box=BOX)
    monkeypatch.setattr(policy_step, "env_entry", lambda name: entry)

    def make(model, batch=None, **options):
        net = small_net(model, **options).eval()
        net.target_return.fill_(900.0)
        if net.observation_mean.ndim == 1:
            net.observation_mean.copy_(torch.arange(5.0))
            net.observation_std.fill_(3.0)
            net.observation_clip.fill_(0.7)  # half of what is drawn goes further
        card = {"model": model, "size": [16, 2, 8], "env": "Toy", "options": {**OPTIONS[model], **options}}
        return net, policy_step.policy_graph(net, card, batch)

    return make


def in_torch(graph):
    """Run the graph's own module as a step."""

    @torch.no_grad()
    def step(inputs):
        assert set(inputs) == set(graph.inputs)
        outputs = graph.module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return step


@torch.no_grad()
def largest_error(policy, net, graph, rows=2, steps=9):
    """Return the largest error of a file's actions in a random episode, as a share of the bounds."""
    draw, rng, worst = lambda t: graph.draw(t)["observation"][:rows], np.random.default_rng(0), 0.0
    history, everyone = WindowMemory(net, draw(0).numpy(), net.max_steps), torch.arange(rows)
    rewards = None
    policy.reset()
    for t in range(steps):
        actions = net(*history.window(everyone))[:, -1]
        acted = BOX.unit(policy.act(draw(t).numpy(), rewards))
        worst = max(worst, float(np.abs(acted - actions.numpy()).max()))
        rewards = rng.normal(50, 20, rows).astype(np.float32)
        history.push(everyone, actions, draw(t + 1).numpy(), rewards)
    return worst


def refuses_what_does_not_go_together(policy, graph):
    """Check of any runtime that nothing is broadcast, and that no row gets another one's memory."""
    seen, rows = graph.draw(0)["observation"].numpy(), graph.batch or 2
    seen, told = seen[:rows], np.ones(rows, np.float32)
    policy.reset()
    before = policy.act(seen)
    said = policy.act(seen, told)
    spoilt = seen.astype(np.float64)
    spoilt.flat[-1] = np.nan
    for observation, reward, line in (
        (seen[:1] if rows > 1 else seen.repeat(2, 0), told, "the last call had|or fewer rows"),
        (seen.repeat(2, 0), told, "or fewer rows|the last call had"),
        (seen[..., :-1], told, "or fewer rows"),
        (seen[None], told, "or fewer rows"),
        (seen.astype(str), told, "observation: of type <U"),
        ([[1.0], [1.0, 2.0]], told, "observation: not an array of numbers"),
        (spoilt, told, "observation: nan at .* is not (finite|a byte)"),
        (seen, np.ones(rows + 1), f"takes one for each of {rows} observations"),
        (seen, np.ones((rows, 2)), f"takes one for each of {rows} observations"),
        (seen, np.full(rows, np.inf), r"reward: inf at \(0,\) is not finite"),
    ):
        with pytest.raises(ValueError, match=line) as error:
            policy.act(observation, reward)
        assert "\n" not in str(error.value)
    policy.reset()  # a refused call left no trace, and a column of rewards is one reward a row
    assert np.array_equal(policy.act(seen), before) and np.array_equal(policy.act(seen, told[:, None]), said)


@policies
def test_inputs_that_do_not_fit_each_other_are_refused(graph_of, model, options):
    _, graph = graph_of(model, **options)
    refuses_what_does_not_go_together(exported_policy(in_torch(graph), graph), graph)


def test_a_step_refuses_memories_of_other_rows(graph_of):
    _, graph = graph_of("dt", **ORIGINAL)
    for name, tensor in graph.inputs.items():
        other = {**graph.inputs, name: tensor[:1]}
        with pytest.raises(UserError, match="beside these observations"):
            graph.module(**other)


def test_pictures_are_bytes():
    policy, _ = counting()
    policy.blank["observation"] = np.zeros((1, 3), np.uint8)
    assert policy.act(np.array([0.0, 7.0, 255.0])).tolist() == [0]
    for wrong in (0.5, -1, 256):
        with pytest.raises(ValueError, match=r"observation: .* at \(0,\) is not a byte"):
            policy.act(np.array([wrong, 1, 2]))


@policies
def test_a_step_with_its_memory_acts_as_the_policy_does(graph_of, model, options):
    net, graph = graph_of(model, **options)
    policy = exported_policy(in_torch(graph), graph)
    assert net.context < 9 and largest_error(policy, net, graph) < 1e-6
    assert largest_error(policy, net, graph) < 1e-6  # again, after a reset


def test_a_step_takes_only_the_inputs_that_the_policy_reads(graph_of):
    inputs = {(model, *options.values()): set(graph_of(model, **options)[1].inputs) for model, options in POLICIES}
    past = {"observation", "return_to_go", "time", "past_observations"}
    assert inputs["mlp",] == inputs["conv",] == {"observation", "return_to_go"}
    assert inputs["mlp", "none"] == {"observation"} and inputs["dt",] == inputs["tcn",] == past
    assert inputs["dt", "every", True, "episode"] == past | {"past_actions", "past_returns_to_go"}
    assert inputs["dt", "every", True, "episode", 1] == {"observation", "return_to_go", "time"}


@pytest.mark.parametrize(
    ("model", "batch", "options"),
    [
        pytest.param("dt", None, {}, marks=pytest.mark.slow),
        ("dt", 2, ORIGINAL),
        pytest.param("dt", None, BANDED, marks=pytest.mark.slow),
        pytest.param("tcn", 1, {}, marks=pytest.mark.slow),
        ("mlp", None, {}),
        ("conv", 1, {}),
        pytest.param("convnext_policy", 1, {}, marks=pytest.mark.slow),
    ],
)
def test_onnx_runtime_gives_the_same_actions(graph_of, model, batch, options, tmp_path):
    net, graph = graph_of(model, batch, **{"depth": 1, **options})
    (tmp_path / "policy.onnx").write_bytes(FORMATS.get("onnx").write(graph))
    policy = onnx_policy.OnnxPolicy(tmp_path / "policy.onnx")
    assert policy.card == graph.card and policy.batch == batch and policy.target_return == 900
    assert difference(policy.run, graph) < 1e-5
    for rows in {batch or 1, batch or 3}:
        assert largest_error(policy, net, graph, rows) < 1e-5
    refuses_what_does_not_go_together(policy, graph)
    assert str(Path(__file__).parent.parent).encode() not in (tmp_path / "policy.onnx").read_bytes()


@pytest.mark.parametrize(("model", "batch"), [("dt", None), ("mlp", 1)])
def test_a_program_of_torch_gives_the_same_actions(graph_of, model, batch):
    net, graph = graph_of(model, batch, depth=1)
    kind, threads = FORMATS.get("torch_export"), torch.get_num_threads()
    policy = exported_policy(kind.step(kind.write(graph), threads + 1), graph)
    assert largest_error(policy, net, graph, batch or 3) < 1e-6 and torch.get_num_threads() == threads
    refuses_what_does_not_go_together(policy, graph)


def test_in_8_bits_a_file_is_small_and_acts_nearly_alike(graph_of):
    kind, (_, graph) = FORMATS.get("onnx"), graph_of("tcn", 1, width=32, depth=1)
    data = kind.write(graph)
    small = kind.quantize(data)
    assert len(small) < 0.5 * len(data) and 1e-5 < difference(kind.step(small, 1), graph) < 0.05


@pytest.mark.parametrize("model", models_of("classification"))
def test_a_classifier_takes_bytes_and_gives_logits(model, tmp_path):
    net = small_net(model, depth=1).eval()
    card = {"model": model, "size": [16, 1, 8], "data": "noise", "classes": ["a", "b"]}
    graph, kind = classifier_graph(net, card, 4), FORMATS.get("onnx")
    for other in (torch.zeros(4, 3, 8, 8), graph.inputs["images"][0], graph.inputs["images"][:, :1]):
        with pytest.raises(UserError, match="images"):
            graph.module(other)
    (tmp_path / "it.onnx").write_bytes(kind.write(graph))
    session = onnx_policy.open_session(tmp_path / "it.onnx")
    assert onnx_policy.card_of(session)["classes"] == ["a", "b"]
    with pytest.raises(ValueError, match=r"it\.onnx: no policy that weit_rl.export wrote"):
        onnx_policy.OnnxPolicy(tmp_path / "it.onnx")
    step = onnx_policy.step_function(session)
    for wrong in (np.zeros((4, 3, 8, 8), np.float32), np.zeros((4, 1, 8, 8), np.uint8)):
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            step({"images": wrong})
    assert difference(step, graph) < 1e-5 and median_seconds(step, graph, calls=3) > 0
    images = torch.cat([graph.draw(seed)["images"] for seed in (1, 2)])[:6]  # no multiple of the batch
    torch.testing.assert_close(ExportedClassifier(step, 4)(images), net(images), atol=1e-5, rtol=0)


# --- what carries the memory


def counting(shape=(3,), batch=None, **card):
    """Make a policy that remembers the returns that it was given."""
    told = []

    def run(inputs):
        told.append(inputs["return_to_go"].tolist())
        return {"action": inputs["observation"][:, :1] + inputs["time"][:, None], "next_time": inputs["time"] + 1}

    blank = {"observation": np.zeros((1, *shape), np.float32), "return_to_go": np.zeros(1, np.float32)}
    blank["time"] = np.zeros(1, np.int64)
    card = {"batch": batch, "target_return": 100.0, "episode_steps": 10, **card}
    return onnx_policy.ExportedPolicy(run, blank, card), told


def test_the_return_is_counted_down_by_rewards_or_in_equal_parts():
    policy, told = counting()
    for reward in (7.0, 30.0, None, 5):
        policy.act(np.ones(3), reward)
    assert told == [[100], [70], [60], [55]]  # the first step of an episode has no reward
    policy.target_return = 40.0
    policy.reset()
    policy.act(np.ones((2, 3)))
    policy.act(np.ones((2, 3)), np.array([1.0, 2.0]))
    assert told[4:] == [[40, 40], [39, 38]]


def test_memory_lasts_until_a_reset_and_single_rows_stay_single():
    policy, _ = counting()
    assert [policy.act(np.zeros(3)).tolist() for _ in range(3)] == [[0], [1], [2]]
    policy.reset()
    assert policy.act(np.zeros((1, 3))).tolist() == [[0]]


def test_a_file_for_more_rows_acts_for_fewer_and_refuses_others():
    policy, told = counting(batch=4)
    assert policy.act(np.ones((2, 3))).shape == (2, 1) and policy.act(np.ones((2, 3)), np.ones(2)).shape == (2, 1)
    assert told[1] == [99, 99, 100, 100]
    for shape in ((5, 3), (2, 4), (0, 3), (2,)):
        with pytest.raises(ValueError, match=r"takes \(4, 3\), or fewer rows"):
            policy.act(np.ones(shape))


def test_the_runtime_can_be_copied_to_a_machine_that_has_nothing_else():
    tree = ast.parse(Path(onnx_policy.__file__).read_text())
    found = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    found |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in found} - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


# --- limits


@pytest.mark.parametrize(
    ("text", "most", "of_time"),
    [("2ms", 0.002, True), ("500us", 0.0005, True), (" 1.5 s", 1.5, True), ("1MB", 1e6, False), ("300 kB", 3e5, False),
     (".5GB", 5e8, False), ("1MiB", 2**20, False)],
)  # fmt: skip
def test_limits_are_read_and_kept(text, most, of_time):
    limit = Limit.parse(text)
    assert limit.most == pytest.approx(most) and limit.of_time == of_time
    at, beyond = int(most) or most, 2 * most
    assert limit.keeps(at if of_time else 1e9, 10**12 if of_time else at)
    assert not limit.keeps(beyond if of_time else 0.0, 0 if of_time else int(beyond))


@pytest.mark.parametrize("text", ["2", "ms", "2 parsecs", "0ms", "-1MB", "1e3ms", "2ms3", ""])
def test_other_limits_are_refused(text):
    with pytest.raises(UserError, match="must be a latency such as 2ms or 500us, or a size such as 1MB"):
        Limit.parse(text)


def test_tasks_that_can_be_exported():
    assert set(GRAPHS.names()) == {"control", "classification"}
