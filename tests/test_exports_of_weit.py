"""A WeiT that was not materialized, and agents with mode="scalers", in the programs that torch writes down."""

import io
import re

import numpy as np
import pytest
import torch
from test_sb3_policies import BODY, make
from torch import nn

from weit_rl import Plan, TemplateBank, WeiT
from weit_rl.core.constraints import CONSTRAINTS

X = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
pytestmark = pytest.mark.filterwarnings("ignore")


def composed(constraint="kronecker"):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(16, 24), nn.LayerNorm(24), nn.GELU(), nn.Linear(24, 16))
    plan = Plan.infer(plain, tile=8)
    return WeiT(plain, TemplateBank.from_plan(plan, 3, constraint), plan).eval()


def traced(net):
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(net, X), file)
    file.seek(0)
    return torch.jit.load(file)


def scripted(net):
    return torch.jit.script(net)


def exported(net, strict):
    file = io.BytesIO()
    torch.export.save(torch.export.export(net, (X,), strict=strict), file)
    file.seek(0)
    return torch.export.load(file).module()


WAYS = {
    "trace": traced,
    "script": scripted,
    "export": lambda net: exported(net, False),
    "strict export": lambda net: exported(net, True),
}


@pytest.mark.parametrize(
    ("way", "constraint"), [*((way, "kronecker") for way in WAYS), *(("trace", name) for name in CONSTRAINTS.names())]
)
def test_written_programs_do_the_same_without_this_librarys_operators(way, constraint):
    net = composed(constraint)
    program = WAYS[way](net)
    for x in (X, -2 * X):
        torch.testing.assert_close(program(x), net(x))
    assert not re.search(r"weit_rl(::|\.)compose", str(program.graph))


@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx(dynamo, tmp_path):
    runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    net = composed()
    torch.onnx.export(net, (X,), str(tmp_path / "net.onnx"), dynamo=dynamo)
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    (made,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    np.testing.assert_allclose(made, net(X).detach().numpy(), rtol=1e-4, atol=1e-5)


class Exportable(nn.Module):
    """The module in which Stable-Baselines3's page on export wraps a policy, or its actor."""

    def __init__(self, policy):
        super().__init__()
        self.policy = policy

    def forward(self, observation):
        return self.policy(observation, deterministic=True)


@pytest.mark.parametrize("mode", ["dense", "scalers"])
@pytest.mark.parametrize("name", ["PPO", "SAC", "TD3"])
def test_the_export_of_stable_baselines3s_pages(name, mode):
    agent = make(name, bank=BODY, mode=mode)
    part = agent.policy if name == "PPO" else agent.policy.actor
    actor = part if name == "TD3" else Exportable(part)
    states = torch.randn(1, 17, generator=torch.Generator().manual_seed(0))
    program = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(actor.eval(), states)))
    for rows in (states, torch.cat([states, -states])):  # any number of rows
        made, wanted = program(rows), actor(rows)
        made, wanted = (x[0] if isinstance(x, tuple) else x for x in (made, wanted))
        torch.testing.assert_close(made, wanted)
