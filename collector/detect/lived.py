"""What an agent lived through while nobody heard it, as its spool tells afterwards."""

from __future__ import annotations


class Lived:
    """To be filled."""
