"""Closed-form fits: layer inputs, least squares, narrower networks, heads."""
