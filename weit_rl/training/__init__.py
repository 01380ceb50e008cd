"""Train networks: the optimisation loop, checkpoints, run folders, progress."""
