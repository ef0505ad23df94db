"""The ledger of all channels: append-only, one row for each thing that happened to money."""

from __future__ import annotations
