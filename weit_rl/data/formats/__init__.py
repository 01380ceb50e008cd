"""Formats of recorded episodes on disk: one file of this folder each, found automatically."""

from weit_rl.data.formats.registry import FORMATS, EpisodeFormat, before_each, check_shapes, column, flat, unreadable

__all__ = ["FORMATS", "EpisodeFormat", "before_each", "check_shapes", "column", "flat", "unreadable"]
