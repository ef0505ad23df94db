"""The ledger, and the one way into it from devices.

``ingest.py`` takes messages as they came, over MQTT or HTTPS, and writes what they say in one transaction.
"""

from __future__ import annotations
