"""Formats of recorded episodes on disk: each is one file of this folder, which is found by itself."""

from weit_rl.data.formats.registry import FORMATS, Format, before_each, check_shapes, column, flat, unreadable

__all__ = ["FORMATS", "Format", "before_each", "check_shapes", "column", "flat", "unreadable"]
