"""Counters of what came in."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

MESSAGES: Final = Counter(
    "omnitill_ingest_messages", "Messages from devices, by what became of them", ["outcome"]
)
CARD_NUMBERS: Final = Counter(
    "omnitill_ingest_card_numbers_masked", "Texts in which a card number was masked; stays at 0"
)
BATCH_SECONDS: Final = Histogram(
    "omnitill_ingest_batch_seconds",
    "From taking a batch to its commit",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
