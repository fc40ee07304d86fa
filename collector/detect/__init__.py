"""Detectors: pure steps over what arrives. No I/O, no clock of their own: a recording replays to the same result."""
