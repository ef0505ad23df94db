"""Payments on readers: tap sessions, the commands that carry them, and what devices say of both.

``sessions.py`` starts and cancels, ``commands.py`` issues and grants, ``reports.py`` takes in what devices say,
``deadlines.py`` ends what nobody answers. The ledger is elsewhere: it is written by ingest, session or not.
"""

from __future__ import annotations
