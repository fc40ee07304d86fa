"""Telling people: who is told of what, when, how often, in which words, and what proves that somebody can be."""
