"""Agents: decision-transformer acting and evaluation, Stable-Baselines3 behaviour policies."""
