"""The parts of ``init=pruning``: masks, the network under them, and the module that is trained."""
