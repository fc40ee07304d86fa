"""Receive, judge, tell: what sites measure comes in, incidents that a person can act on go out."""
