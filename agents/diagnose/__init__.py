"""Diagnosis on demand: look at a site from every side that can still be reached, and say where the fault is."""
