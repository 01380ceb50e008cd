"""Acting without recomputing what is known: the newest step alone, attention over a band, another library's weights."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_inputs, small_net

from weit_rl.agents.evaluation import memory_of, rollout
from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.models import models_of
from weit_rl.options.command import compose
from weit_rl.options.model_words import RTG
from weit_rl.pretrain import main as pretrain
from weit_rl.train import main as train
from weit_rl.training.checkpoint import load_network, save_network

BANDED = {"attention": "band", "band": 3, "positions": "none", "context": 5}
STREAMS = [
    {"rtg": rtg, "past_actions": past, "positions": positions}
    for rtg, past, positions in itertools.product(RTG, (False, True), ("episode", "none"))
    if (rtg, positions) != ("every", "none")
]


def loud(net):
    """Draw weights so large that a wrong input would show in the output."""
    torch.manual_seed(5)
    for parameter in net.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return net.eval()


def whole(*, batch=3, steps=12):
    """Return an episode's observations, actions, returns to go and time steps."""
    return small_inputs(batch=batch, steps=steps)


@pytest.mark.parametrize("options", STREAMS, ids=str)
@pytest.mark.parametrize("band", [1, 3])
@torch.no_grad()
def test_acting_by_a_band_gives_the_actions_of_the_window(options, band):
    net = loud(small_net(**{**BANDED, **options, "band": band}))
    seen, actions, returns, times = whole()
    past = net.empty_past(3)
    for t in range(12):
        window = slice(max(0, t + 1 - net.context), t + 1)
        wanted = net(*(part[:, window] for part in (seen, actions, returns, times)))[:, -1]
        acted, past = net.step(seen[:, t], actions[:, t - 1], returns[:, t], times[:, t], past)
        torch.testing.assert_close(acted, wanted, rtol=0, atol=1e-5)


@torch.no_grad()
def test_rows_at_other_steps_of_their_episodes_act_alike():
    """Check rows of other ages, one of which begins again and must not see its earlier episode."""
    net = loud(small_net(**{**BANDED, "rtg": "every", "past_actions": True, "positions": "episode"}))
    seen, actions, returns, _ = whole()
    past = net.empty_past(3)
    for t in range(8):
        now = torch.tensor([t, t, t - 4 if t >= 4 else t])
        acted, past = net.step(seen[:, t], actions[:, t - 1], returns[:, t], now, past)
    low = [(3, 8), (3, 8), (4, 8)]
    for row, (begin, end) in enumerate(low):
        given = [part[row : row + 1, begin:end] for part in (seen, actions, returns)]
        first = 0 if row == 2 else begin
        wanted = net(*given, torch.arange(first, first + end - begin)[None])[:, -1]
        torch.testing.assert_close(acted[row : row + 1], wanted, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_band_hides_older_steps():
    """Check that a single block sees ``band`` steps and no other, and that two blocks reach twice as far."""
    for depth, reach in ((1, 3), (2, 5)):
        net = loud(small_net(depth=depth, **BANDED))
        seen, *rest = whole(steps=5)
        for back in range(5):
            other = seen.clone()
            other[:, 4 - back] += 1
            changed = not torch.equal(net(seen, *rest)[:, -1], net(other, *rest)[:, -1])
            assert changed == (back < reach)


@pytest.mark.parametrize("model", models_of("control"))
@pytest.mark.parametrize("batch", [1, 2, 20])
@torch.no_grad()
def test_the_newest_action_alone_equals_the_last_of_the_window(model, batch):
    net = loud(small_net(model))
    for steps in (1, 4):
        given = small_inputs(model, batch=batch, steps=steps)
        torch.testing.assert_close(net.act(*given), net(*given)[:, -1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options", [*STREAMS[::3], {**BANDED, "rtg": "every", "past_actions": True, "positions": "episode"}], ids=str
)
@torch.no_grad()
def test_a_large_batch_in_parts_gives_the_same_actions(options, monkeypatch):
    net = loud(small_net(**options))
    given = small_inputs(batch=7)
    wanted = net(*given)[:, -1]
    monkeypatch.setattr(sys.modules[type(net).__module__], "AT_ONCE", 24)
    torch.testing.assert_close(net.act(*given), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"context": 4}, "2 blocks see 5 steps, and windows hold context=4; give context=5, or band=2 or less"),
     ({"positions": "window"}, "attention=band: positions inside a window move with it; give positions=none or"),
     ({"rtg": "every"}, "positions=none: rtg=every needs a position beside each return"),
     ({"band": 0}, "band=0: must be 1"), ({"attention": "bands"}, "DecisionTransformer has full, band only")],
)  # fmt: skip
def test_a_band_that_the_stored_past_cannot_replace_is_refused(options, says):
    with pytest.raises(UserError, match=says):
        small_net(**{**BANDED, **options})


def test_a_policy_without_attention_has_no_band():
    with pytest.raises(UserError, match="attention=band: TCN has full only"):
        small_net("tcn", attention="band")


def test_a_checkpoint_says_what_attention_its_network_has(tmp_path):
    net = small_net(**BANDED)
    options = {"observation_dim": 5, "action_dim": 2, "max_steps": 12, **BANDED}
    save_network(tmp_path / "net.safetensors", net, {"model": "dt", "size": [16, 2, 8], "options": options})
    read, _ = load_network(tmp_path / "net.safetensors")
    assert (read.attention, read.band) == ("band", 3)
    assert torch.equal(read(*small_inputs()), net.eval()(*small_inputs()))


def test_a_run_and_a_bank_store_the_band_and_later_runs_must_match_it(words, refused, tmp_path):
    band = ["attention=band", "band=2", "positions=none"]
    says = "bank: was made with attention=full, this run asks for attention=band band=2; make them the same"
    assert says in refused("train", *words["train"], *band)
    pretrain(compose("pretrain", [*words["pretrain"][:-1], *band, "steps=2", f"run_dir={tmp_path / 'bank'}"]))
    given = [*words["train"][:-2], f"bank={tmp_path / 'bank' / 'bank.safetensors'}", "validation_episodes=0"]
    other = [*given, f"run_dir={tmp_path / 'other'}"]
    assert "was made with attention=band band=2, this run asks for attention=full" in refused("train", *other)
    assert "was made with band=2, this run asks for band=1; make" in refused("train", *other, *band, "band=1")
    train(compose("train", [*given, *band, "train_steps=2", "scaler_steps=2", f"run_dir={tmp_path / 'run'}"]))
    path = tmp_path / "run" / "checkpoints" / "last.safetensors"
    assert (load_network(path)[0].attention, load_network(path)[0].band) == ("band", 2)
    assert "was made with" in refused("train", *other, "init=bot", f"source={path}", "positions=none")


class Line:
    """An environment whose observation is the time, so that every action can be told from the others."""

    def reset(self, seed):
        self.t, self.last = 0, 4 + seed
        return torch.full((5,), 0.0).numpy(), {}

    def step(self, action):
        self.t += 1
        return torch.full((5,), float(self.t)).numpy(), float(action[0]) * 100, self.t == self.last, False, {}


def test_an_evaluation_with_a_band_keeps_to_the_episodes_that_still_run(monkeypatch):
    net = loud(small_net(**{**BANDED, "rtg": "every", "past_actions": True, "positions": "episode"}))
    kept = rollout(net, [Line() for _ in range(3)], [0, 5, 2])
    monkeypatch.setattr(net, "attention", "band-in-windows")  # no other way than the windows then
    monkeypatch.setattr(type(net), "mask", lambda self, stream: self.tokens.mask(stream.shape[1], stream.device))
    assert kept == pytest.approx(rollout(net, [Line() for _ in range(3)], [0, 5, 2]), rel=1e-4)


def test_hugging_face_s_weights_give_hugging_face_s_actions(monkeypatch):
    pytest.importorskip("transformers", reason="the peer of benchmarks: pip install 'weit_rl[bench]'")
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    from benchmarks._shared import hugging_face

    peer = loud(hugging_face.theirs(Size(64, 2), 5, 2, max_steps=40))
    given = hugging_face.windows(3, 6, 5, 2)[:3]
    times = torch.arange(9, 15).expand(3, -1)
    with torch.no_grad():
        wanted = hugging_face.act(peer, *given, times)
        torch.testing.assert_close(hugging_face.ours(peer, 6).act(*given, times), wanted, rtol=0, atol=1e-5)


# --- what does not go together


@pytest.mark.parametrize("name", models_of("control"))
def test_policies_refuse_what_would_be_broadcast(name):
    net, given = small_net(name).eval(), list(small_inputs(name, batch=3, steps=net_steps(name)))
    net(*given)
    for place in range(1, 4):
        for wrong in (given[place][:1], given[place][0]):
            with pytest.raises(UserError, match="give 3 rows of"):
                net(*given[:place], wrong, *given[place + 1 :])


@pytest.mark.parametrize("name", [name for name in models_of("control") if name != "multimodal"])  # a Dict of several
def test_policies_refuse_observations_of_another_size(name):
    net, given = small_net(name).eval(), list(small_inputs(name, batch=3, steps=net_steps(name)))
    kind = "channels" if given[0].ndim > 3 else "numbers"
    with pytest.raises(UserError, match=f"observation: has 1 {kind}, the policy sees"):
        net(given[0][:, :, :1], *given[1:])


def net_steps(name):
    """Return a number of steps that every policy takes."""
    return 1 if name in ("conv", "convnext_policy") else 4


@torch.no_grad()
def test_a_past_of_other_rows_is_refused():
    net = loud(small_net(**BANDED))
    now = torch.ones(3, 5), torch.zeros(3, 2), torch.ones(3), torch.zeros(3, dtype=torch.int64)
    _, past = net.step(*now, net.empty_past(3))
    for rows in (1, 2, 4):
        with pytest.raises(UserError, match=f"past: of shape .{rows}, .* one row for each observation"):
            net.step(*now, net.empty_past(rows))
    with pytest.raises(UserError, match="past: of 1 blocks, the policy has 2"):
        net.step(*now, past[:1])
    for place, name in ((1, "action"), (2, "returns_to_go"), (3, "times")):
        with pytest.raises(UserError, match=f"{name}: of shape"):
            net.step(*now[:place], now[place][:1], *now[place + 1 :], past)


@torch.no_grad()
def test_the_past_of_an_episode_is_not_given_to_another_one():
    memory = memory_of(loud(small_net(**BANDED)), np.ones((4, 5), np.float32))
    first = torch.tensor([1, 3])
    memory.act(first)
    for rows in ([0, 2], [3, 1], [0, 1, 2, 3]):
        with pytest.raises(UserError, match=r"of those kept are \[1, 3\]"):
            memory.act(torch.tensor(rows))
    for net in (memory.net, small_net()):
        memory = memory_of(net, np.ones((4, 5), np.float32))
        actions = memory.act(first)
        with pytest.raises(UserError, match=r"rewards: of shape .1,., there are 2 observations"):
            memory.push(first, actions, np.ones((2, 5)), np.ones(1))
        memory.push(first, actions, np.ones((2, 5), np.float32), np.ones((2, 1), np.float32))
        memory.act(first[:1])
