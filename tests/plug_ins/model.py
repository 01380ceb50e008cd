"""A model in one file: the residual MLP that sees its observations negated."""

from weit_rl.models.mlp import MLP, plan
from weit_rl.models.policy import BOUND
from weit_rl.models.registry import Model


class Negated(MLP):
    """A residual MLP of negated observations."""

    def normalised(self, observations):
        return -super().normalised(observations)


MEMBER = Model(Negated, plan, BOUND)
