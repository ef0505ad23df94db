"""Alerts: what is wrong with a device or reader for long enough that somebody should know."""
