"""The broker edge: the brokers we run or configure, the ingest role, and what goes down to devices."""

from __future__ import annotations
