"""Asking a running collector from a terminal: how sites stand, what is open, and taking an incident on."""
