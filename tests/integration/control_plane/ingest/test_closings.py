"""A device's own count of a day beside the ledger's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from control_plane.ingest.closings import compare
from control_plane.ingest.models import CLOSINGS
from control_plane.outbox import JOBS
from protocols.cloud.events import CurrencySum, DailyClosing
from protocols.cloud.topics import Stream
from tests.fakes.device_outbox import DeviceOutbox
from tests.fakes.fleet import Shop


def closing(first: int, last: int, *sums: CurrencySum) -> DailyClosing:
    return DailyClosing(
        day="2026-05-04", first_seq=first, last_seq=last, sums=list(sums), last_hash="f" * 32
    )


def a_day(outbox: DeviceOutbox) -> list[bytes]:
    """Two sales, a decline and a refund: 14.34 EUR in three approved results."""
    return [
        outbox.sale(amount_minor=1000),
        outbox.sale(amount_minor=634),
        outbox.sale(amount_minor=77, outcome="declined"),
        outbox.sale(amount_minor=200, kind="refund"),
    ]


def close(shop: Shop, outbox: DeviceOutbox, told: DailyClosing) -> Any:
    shop.send(outbox, outbox.put(Stream.TRANSACTIONS, told))
    return compared(shop)


def compared(shop: Shop) -> Any:
    (job,) = shop.rows(select(JOBS).where(JOBS.c.kind == "ingest.compare_closing"))
    with shop.parts.database.transaction() as db:
        done = compare(db, **job.payload)
    (row,) = shop.rows(select(CLOSINGS))
    return (done, row.result, row.counted)


def test_a_day_that_agrees_is_noted(shop: Shop) -> None:
    outbox = shop.device()
    shop.send(outbox, *a_day(outbox))

    outcome = close(shop, outbox, closing(1, 4, CurrencySum("EUR", 3, 1434)))

    assert outcome == (True, "agrees", [["EUR", 3, 1434]])
    assert shop.alarms() == []
    assert len(shop.ledger()) == 4


def test_a_day_that_differs_raises_an_alarm_with_both_sums(shop: Shop) -> None:
    outbox = shop.device()
    shop.send(outbox, *a_day(outbox))

    outcome = close(shop, outbox, closing(1, 4, CurrencySum("EUR", 4, 2434)))

    assert outcome == (True, "differs", [["EUR", 3, 1434]])
    assert shop.alarms() == ["closing.differs"]
    assert shop.events()[-1].facts == {
        "day": "2026-05-04", "device": "4 for 2434 EUR", "ledger": "3 for 1434 EUR",
    }  # fmt: skip


def test_a_day_is_compared_only_when_all_of_it_is_there(shop: Shop) -> None:
    outbox = shop.device()
    payloads = a_day(outbox)
    shop.send(outbox, *payloads[:2])

    early = close(shop, outbox, closing(1, 4, CurrencySum("EUR", 3, 1434)))
    shop.send(outbox, *payloads)

    assert early == (False, "waiting", None)
    assert compared(shop) == (True, "agrees", [["EUR", 3, 1434]])


def test_a_day_without_sales_agrees_with_nothing(shop: Shop) -> None:
    outbox = shop.device()
    shop.send(outbox, outbox.sale(outcome="cancelled"))

    assert close(shop, outbox, closing(1, 1)) == (True, "agrees", [])


def test_a_closing_that_comes_twice_is_compared_once(shop: Shop) -> None:
    outbox = shop.device()
    shop.send(outbox, outbox.sale())
    payload = outbox.put(Stream.TRANSACTIONS, closing(1, 1, CurrencySum("EUR", 1, 1234)))

    shop.send(outbox, payload)
    shop.send(outbox, payload, intake=shop.new_intake())

    assert compared(shop) == (True, "agrees", [["EUR", 1, 1234]])
    assert shop.quarantined() == []
