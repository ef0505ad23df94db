"""Writes the timeline of devices, and tells who watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import insert

from control_plane import live
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.devices.models import EVENTS, EventSource, Severity
from protocols.readers.emv import redact_card_numbers

log = structlog.get_logger()


def readers_topic(merchant_id: str) -> str:
    """Live topic: something about the merchant's devices or readers changed."""
    return f"merchant:{merchant_id}:readers"


def record(
    db: Transaction,
    merchant_id: str,
    device_id: str,
    kind: str,
    text: str = "",
    *,
    severity: Severity = Severity.INFO,
    source: EventSource = EventSource.SERVER,
    reader_id: str | None = None,
    facts: Mapping[str, Any] | None = None,
    happened_at: datetime | None = None,
) -> None:
    """Write down what happened to a device. An error is an alarm: it is logged as well."""
    now = context_of(db).clock.now()
    db.execute(
        insert(EVENTS).values(
            merchant_id=merchant_id,
            device_id=device_id,
            reader_id=reader_id,
            source=source,
            kind=kind,
            severity=severity,
            text=redact_card_numbers(text)[:2000],
            facts=dict(facts or {}),
            happened_at=happened_at or now,
            recorded_at=now,
        )
    )
    if severity is Severity.ERROR:
        log.warning("device_alarm_raised", device_id=device_id, kind=kind)
    tell(db, merchant_id, device_id=device_id, reader_id=reader_id)


def columns(
    merchant_id: str,
    device_id: str,
    kind: str,
    text: str = "",
    *,
    happened_at: datetime,
    severity: Severity = Severity.INFO,
    source: EventSource = EventSource.SERVER,
    reader_id: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One thing that happened, as ``record_many`` takes it."""
    return {
        "merchant_id": merchant_id,
        "device_id": device_id,
        "reader_id": reader_id,
        "source": source,
        "kind": kind,
        "severity": severity,
        "text": text[:2000],
        "facts": dict(facts or {}),
        "happened_at": happened_at,
    }


def record_many(db: Transaction, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write down many things at once, given as columns; texts must be free of card numbers already."""
    if not rows:
        return
    now = context_of(db).clock.now()
    db.execute(insert(EVENTS), [{**row, "recorded_at": now} for row in rows])
    for merchant_id, device_id, reader_id in {
        (row["merchant_id"], row["device_id"], row["reader_id"]) for row in rows
    }:
        tell(db, merchant_id, device_id=device_id, reader_id=reader_id)


def tell(
    db: Transaction, merchant_id: str, *, device_id: str, reader_id: str | None = None
) -> None:
    """Let pages that show this device or reader read again, after the commit."""
    changed = reader_id or device_id
    message = {"device_id": device_id, **({"reader_id": reader_id} if reader_id else {})}
    live.publish(db, readers_topic(merchant_id), message, key=changed)
