"""WeiTPolicy of sb3-contrib's algorithms: acts as its bank, learns, saves and loads; two are refused."""

import numpy as np
import pytest
import torch
from sb3_contrib import ARS, QRDQN, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from test_sb3_policies import BODY, STATES, Cheetah, Sides, bank_policy

from weit_rl.agents.contrib_policies import CONTRIB, REFUSED
from weit_rl.common.errors import UserError

NAMES = {algorithm.__name__: algorithm for algorithm in CONTRIB}
ROLLOUTS, CONTINUOUS = (TRPO, MaskablePPO), (TRPO, CrossQ)


class Allowed(Sides):
    """Both sides may be chosen, but not where the number is small."""

    def action_masks(self):
        return np.array([True, abs(self.state[0]) > 0.2])


def make(algorithm, **policy):
    """Make an agent before its first step."""
    own = {"n_steps": 16, "batch_size": 8} if algorithm in ROLLOUTS else {"learning_starts": 8, "batch_size": 8}
    own |= {"buffer_size": 100} if algorithm not in ROLLOUTS else {}
    env = Cheetah() if algorithm in CONTINUOUS else Allowed()
    policy = {"size": "32x1", "bank": BODY, **policy}
    return algorithm("WeiTPolicy", env, seed=0, device="cpu", policy_kwargs=policy, **own)


def trunk_of(agent):
    """Return the actor's layers, or those of the network that chooses."""
    place = getattr(agent.policy, "actor", None) or getattr(agent.policy, "quantile_net", agent.policy)
    return getattr(place, "pi_features_extractor", place.features_extractor)


@pytest.mark.parametrize("mode", ["dense", "scalers"])
@pytest.mark.parametrize("algorithm", CONTINUOUS)
def test_it_acts_as_the_bank_does(algorithm, mode):
    agent, net, states = make(algorithm, size="64x2", mode=mode), bank_policy("64x2"), torch.from_numpy(STATES)[:, None]
    asked = net.target_return.expand(len(states), 1)
    wanted = net(states, states, asked, asked)[:, 0].detach().numpy()
    assert np.allclose(agent.predict(STATES, deterministic=True)[0], wanted, atol=1e-5)


@pytest.mark.parametrize("mode", ["dense", "scalers"])
@pytest.mark.parametrize("name", NAMES)
def test_it_learns_saves_and_loads(name, mode, tmp_path):
    agent, states = make(NAMES[name], mode=mode), STATES if NAMES[name] in CONTINUOUS else STATES[:, :1]
    trunk = trunk_of(agent)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    agent.learn(48)
    changed = {key for key, value in trunk.state_dict().items() if not torch.equal(value, before[key])}
    templates = {key for key in before if ".templates." in f".{key}"}
    assert bool(templates) == (mode == "scalers") and not changed & templates
    assert changed >= {key for key in before if "weight" in key} - templates
    agent.save(tmp_path / "agent")
    loaded, wanted = NAMES[name].load(tmp_path / "agent", device="cpu"), agent.predict(states, deterministic=True)[0]
    assert np.array_equal(loaded.predict(states, deterministic=True)[0], wanted)


def test_masks_are_kept():
    agent, mask = make(MaskablePPO), np.array([[False, True]] * 5)
    assert (agent.predict(STATES[:, :1], action_masks=mask)[0] == 1).all()


def test_quantiles_have_a_network_of_the_banks_layers():
    agent = make(QRDQN, n_quantiles=7)
    seen = torch.from_numpy(STATES[:, :1])
    assert agent.quantile_net(seen).shape == (5, 7, 2) and len(agent.quantile_net.quantile_net) == 1


ALTERNATIVES = {RecurrentPPO: "use PPO with VecFrameStack", ARS: "use PPO or TRPO"}


@pytest.mark.parametrize(("algorithm", "instead"), ALTERNATIVES.items())
def test_others_are_refused_with_an_alternative(algorithm, instead):
    assert algorithm in REFUSED
    with pytest.raises(UserError, match=f"WeiTPolicy: {algorithm.__name__} .*{instead}") as refusal:
        algorithm("WeiTPolicy", Cheetah(), device="cpu")
    assert "\n" not in str(refusal.value)
