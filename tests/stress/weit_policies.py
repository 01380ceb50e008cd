"""A plugin of pytest: Stable-Baselines3's own names of policies mean WeiT's, of a small size."""

from weit_rl.agents.contrib_policies import CONTRIB
from weit_rl.agents.sb3_policies import POLICIES

NAMES = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")
SIZE = "32x1"


def small(policy):
    """The policy with another default size, under a name by which it can be pickled."""

    def begin(self, *args, size=SIZE, **options):
        policy.__init__(self, *args, size=size, **options)

    made = type(f"Small{policy.__name__}", (policy,), {"__init__": begin, "__module__": __name__})
    return globals().setdefault(made.__name__, made)


def pytest_configure(config):
    """Rename them in every algorithm, for this process alone."""
    for algorithm, policy in (POLICIES | CONTRIB).items():
        algorithm.policy_aliases = {**algorithm.policy_aliases, **dict.fromkeys(NAMES, small(policy))}
