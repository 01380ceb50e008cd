"""Closed-form fits to data: heads of networks, and narrow networks that do what wider ones do."""
