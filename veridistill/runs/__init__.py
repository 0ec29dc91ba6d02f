"""A run: one process at work on a run directory, and the steps that it takes."""
