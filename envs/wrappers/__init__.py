"""Gymnasium's wrappers and classes of this package: a spec holds their arguments, and a process may send them another.

These modules import Gymnasium where they begin, so they are imported only where an environment is made.
"""
