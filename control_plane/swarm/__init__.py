"""A fleet of simulated devices against this installation: for tests of size, and to fill a console."""
