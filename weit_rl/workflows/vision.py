"""Classifiers that are trained: scored on their test images, with pictures of what they confuse, and used."""

from __future__ import annotations
