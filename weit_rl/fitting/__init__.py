"""Closed-form fits to data, and trainable maps from a network to a larger one."""
