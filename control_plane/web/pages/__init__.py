"""The pages, one module for each place in the navigation. Each has a ``router``."""
