"""Payments that a processor takes for us: keyed, saved, by bank debit, by link, and on its own readers.

``processor`` is the port to it; ``settle`` is the one place that turns its view of a payment into our state.
"""
