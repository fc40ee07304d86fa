"""Detectors: pure steps over what arrives. No I/O and no clock of their own, so yesterday replays to yesterday's result."""
