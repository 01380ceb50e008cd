"""Constraints: how shared factors and a network's own factors make the weights of a slot.

A new constraint is one file: a class with the members of :class:`Constraint`, and a line ``CONSTRAINTS.add(name,
...)``.
"""

from weit_rl.core.constraints.registry import CONSTRAINTS, Constraint

__all__ = ["CONSTRAINTS", "Constraint"]
