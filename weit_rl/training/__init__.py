"""Training: the one optimisation loop, checkpoints, run folders, progress."""
