"""The end of days and of devices: what should have come is compared with what did."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import case, func, select, update

from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.devices import timeline
from control_plane.devices.models import Severity
from control_plane.devices.queries import Found
from control_plane.devices.service import DeviceEnded
from control_plane.ingest import book
from control_plane.ingest.models import CLOSINGS, CURSORS
from control_plane.transactions.models import TRANSACTIONS, Kind, Status
from protocols.cloud.topics import Stream

#: Clocks of devices are off by hours, not by days: rows of a day are looked for from so long before it.
_LOOK_BACK: Final = timedelta(days=3)


def close_streams(db: Transaction, ended: DeviceEnded) -> None:
    """Nothing more will come from this device: say from where on its streams are incomplete."""
    now = context_of(db).clock.now()
    for stream, epoch, upto in book.close_all(db, ended.device_id, now):
        timeline.record(
            db, ended.merchant_id, ended.device_id, "stream.closed",
            "What the device had not sent is missing. Compare with the bank.",
            severity=Severity.WARNING,
            facts={"stream": stream, "epoch": str(epoch), "incomplete_from": str(upto + 1)},
        )  # fmt: skip


def compare(db: Transaction, device_id: str, epoch: int, first_seq: int) -> bool:
    """Compare a device's count of a day with the ledger; False while rows of it are still missing."""
    closing = db.execute(
        select(CLOSINGS).where(
            CLOSINGS.c.device_id == device_id,
            CLOSINGS.c.epoch == epoch,
            CLOSINGS.c.first_seq == first_seq,
        )
    ).one_or_none()
    if closing is None or closing.result != "waiting":
        return True
    upto = db.execute(
        select(CURSORS.c.upto).where(
            CURSORS.c.device_id == device_id,
            CURSORS.c.stream == Stream.TRANSACTIONS.value,
            CURSORS.c.epoch == epoch,
        )
    ).scalar()
    if upto is None or upto < closing.last_seq:
        return False
    counted = _count(db, device_id, closing)
    reported = sorted(map(list, closing.reported))
    agrees = counted == reported
    db.execute(
        update(CLOSINGS)
        .where(
            CLOSINGS.c.device_id == device_id,
            CLOSINGS.c.epoch == epoch,
            CLOSINGS.c.first_seq == first_seq,
        )
        .values(
            counted=counted,
            result="agrees" if agrees else "differs",
            compared_at=context_of(db).clock.now(),
        )
    )
    if not agrees:
        timeline.record(
            db, closing.merchant_id, device_id, "closing.differs",
            "The device counted this day differently than the ledger.",
            severity=Severity.ERROR,
            facts={"day": closing.day, "device": _words(reported), "ledger": _words(counted)},
        )  # fmt: skip
    return True


def _count(db: Transaction, device_id: str, closing: Found) -> list[list[Any]]:
    ledger = TRANSACTIONS.c
    net = case((ledger.kind == Kind.SALE, ledger.amount_minor), else_=-ledger.amount_minor)
    rows = db.execute(
        select(ledger.currency, func.count(), func.sum(net))
        .where(
            ledger.merchant_id == closing.merchant_id,
            ledger.occurred_at > _beginning(closing),
            ledger.device_id == device_id,
            ledger.epoch == closing.epoch,
            ledger.seq.between(closing.first_seq, closing.last_seq),
            ledger.status == Status.APPROVED,
        )
        .group_by(ledger.currency)
    )
    return sorted([currency, count, int(net_minor)] for currency, count, net_minor in rows)


def _beginning(closing: Found) -> datetime:
    try:
        day = datetime.fromisoformat(closing.day).replace(tzinfo=UTC)
    except ValueError:
        day = closing.received_at
    earliest: datetime = min(day, closing.received_at)
    return earliest - _LOOK_BACK


def _words(sums: Iterable[list[Any]]) -> str:
    return "; ".join(f"{count} for {net} {currency}" for currency, count, net in sums) or "nothing"
