"""Runs what is owed: the worker, the scheduler, and modules whose functions carry ``@job``."""
