"""Environments by name; simulators are imported only when an environment is made."""
