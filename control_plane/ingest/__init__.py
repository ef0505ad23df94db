"""Takes in what devices send, over MQTT or HTTPS: one function, one transaction, exactly once.

``intake.py`` is the way in. It writes the ledger, tells payments what was decided, and keeps the book by which
duplicates are known.
"""

from __future__ import annotations
