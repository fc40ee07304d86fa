"""Measure one thing and return numbers. Nothing here judges, and nothing here knows who asked."""
