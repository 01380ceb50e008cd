"""A model in one file: the residual MLP that sees its observations negated, and has an option of its own."""

from weit_rl.models.mlp import MLP, plan
from weit_rl.models.policy_rules import BOUND
from weit_rl.models.registry import Model


class Negated(MLP):
    """A residual MLP of negated observations, which knows how many heads were asked for."""

    def __init__(self, size, observation_dim, action_dim, context=1, heads: int = 1, **options):
        super().__init__(size, observation_dim, action_dim, context, **options)
        self.heads = heads

    def normalised(self, observations):
        return -super().normalised(observations)


MEMBER = Model(Negated, plan, BOUND)
