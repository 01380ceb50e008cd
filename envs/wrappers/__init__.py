"""Classes of this project's Gymnasium wrappers: their arguments are in the environment's spec, and they can be pickled.

These modules import Gymnasium at the top, so they are imported only when an environment is made.
"""
