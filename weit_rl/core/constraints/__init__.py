"""How the weights of a slot are made of factors shared by all sizes and factors of one network.

A new constraint is one file with a class that has the members of :class:`Constraint` and a line
``CONSTRAINTS.add(name, ...)``.
"""

from weit_rl.core.constraints.registry import CONSTRAINTS, Constraint

__all__ = ["CONSTRAINTS", "Constraint"]
