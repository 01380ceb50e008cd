"""Comparison of ways to make a network of a new size: cells, sources, results, statistics, tables and plots."""
