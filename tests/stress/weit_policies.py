"""A pytest plugin that maps Stable-Baselines3's policy names to WeiT's policies of a small size.

The size gives the layers of an actor, so ``net_arch`` of a test counts for critics only.
"""

from weit_rl.agents.contrib_policies import CONTRIB
from weit_rl.agents.sb3_policies import POLICIES

NAMES = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")
SIZE = "32x1"


def small(policy):
    """Derive a policy with a small default size, under a module-level name so that it can be pickled."""

    def begin(self, *args, size=SIZE, net_arch=None, **options):
        policy.__init__(self, *args, size=size, net_arch=of_critics(policy, net_arch), **options)

    made = type(f"Small{policy.__name__}", (policy,), {"__init__": begin, "__module__": __name__})
    return globals().setdefault(made.__name__, made)


def of_critics(policy, net_arch):
    """Return the part of ``net_arch`` that belongs to critics."""
    asked = net_arch[0] if isinstance(net_arch, list) and net_arch and isinstance(net_arch[0], dict) else net_arch
    if isinstance(asked, dict):
        return {key: layers for key, layers in asked.items() if key in policy.critic_layers}
    return dict.fromkeys(policy.critic_layers, asked) if asked else None


def pytest_configure(config):
    """Map the names in every algorithm, in this process only."""
    for algorithm, policy in (POLICIES | CONTRIB).items():
        algorithm.policy_aliases = {**algorithm.policy_aliases, **dict.fromkeys(NAMES, small(policy))}
