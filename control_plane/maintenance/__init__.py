"""Maintenance: times in which nobody is alarmed about a shop, a box or a reader."""
