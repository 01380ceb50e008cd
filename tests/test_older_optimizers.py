"""Agents with mode="scalers" saved while placeholders were among the parameters: their optimisers are still read."""

import pytest
import torch
from test_sb3_policies import BODY, make

from weit_rl.training.checkpoint import fill_optimizer


def older(optimizer, net):
    """Return the state as those versions saved it, with numbers higher by the placeholders after the templates."""
    state, own = optimizer.state_dict(), {id(p) for p in net.own().values()}
    first = next(k for k, p in enumerate(optimizer.param_groups[0]["params"]) if id(p) in own)
    count = len(list(net.materialize().parameters()))
    moved = {k + count * (k >= first): moments for k, moments in state["state"].items()}
    numbers = list(range(len(state["param_groups"][0]["params"]) + count))
    return {"state": moved, "param_groups": [{**state["param_groups"][0], "params": numbers}]}


def saved(name):
    agent = make(name, bank=BODY, mode="scalers").learn(40)
    part = getattr(agent, "actor", None) or agent.policy
    trunk = getattr(part, "pi_features_extractor", part.features_extractor)
    return part.optimizer, trunk.net


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_an_older_state_fills_the_same_moments(name):
    optimizer, net = saved(name)
    state = optimizer.state_dict()
    wanted = {k: {key: torch.as_tensor(v).clone() for key, v in s.items()} for k, s in state["state"].items()}
    past = older(optimizer, net)
    flat = {f"o.{k}.{key}": value for k, moments in past["state"].items() for key, value in moments.items()}
    for load in (
        lambda: optimizer.load_state_dict(past),
        lambda: fill_optimizer(optimizer, flat, "o"),
        lambda: optimizer.load_state_dict(optimizer.state_dict()),
    ):
        load()
        found = optimizer.state_dict()
        assert found["param_groups"] == state["param_groups"]
        torch.testing.assert_close(found["state"], wanted)
