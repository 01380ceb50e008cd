"""Helpers that several initialisers use."""
