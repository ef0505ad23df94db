"""The outbox: numbering, sealing, releasing, closing days, beginning anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.journal import Journal
from agent.spool import KEPT_S, START, Position, Released, Row, Spool
from agent.timekeeping import DeviceTime
from protocols.cloud.commands import Ack, Rejected
from protocols.cloud.envelope import GENESIS, Envelope, body_hash, open_envelope
from protocols.cloud.events import (
    CommandResult,
    CurrencySum,
    DailyClosing,
    DeviceEvent,
    PaymentResult,
    StreamData,
)
from protocols.cloud.topics import Stream
from tests.fakes import device_clock
from tests.fakes.device_clock import FakeDeviceClock


class Shop:
    """One device's journal and outbox on a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeDeviceClock()
        self.time = DeviceTime(self.clock)
        self.journal = Journal(folder, now=self.clock.now())
        self.journal.start()
        self.spool = Spool(self.journal, self.time)
        self.heard: list[Row] = []
        self.spool.on_appended = self.heard.append

    async def all_waiting(self, stream: Stream) -> list[Envelope]:
        return [open_envelope(row.payload) for row in await self.spool.waiting(stream, START, 1000)]

    async def seqs(self, stream: Stream) -> list[tuple[int, int]]:
        rows = await self.spool.waiting(stream, START, 1000)
        return [(row.position.epoch, row.position.seq) for row in rows]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    opened = Shop(tmp_path)
    await opened.spool.load()
    yield opened
    await opened.journal.close()


def event(text: str = "") -> DeviceEvent:
    return DeviceEvent(kind="test.event", severity="info", text=text)


def payment(session_id: str = "ts_1", minor: int = 1234, **changes: str) -> PaymentResult:
    facts = {"kind": "sale", "outcome": "approved", "currency": "EUR", **changes}
    return PaymentResult(
        session_id=session_id,
        reader_id="rd_1234",
        amount_minor=minor,
        decided_by="answer",
        **facts,  # type: ignore[arg-type]  # words of the test, checked when sealed bytes are opened
    )


async def test_each_stream_is_numbered_by_itself_and_chained_by_hashes(shop: Shop) -> None:
    result = CommandResult(command_id="cmd_1", status="succeeded")

    await shop.spool.record(event("a"), result, event("b"))

    events = await shop.all_waiting(Stream.EVENTS)
    payloads = [row.payload for row in await shop.spool.waiting(Stream.EVENTS, START, 10)]
    assert [(one.seq, one.epoch, one.boot) for one in events] == [(1, 1, 1), (2, 1, 1)]
    assert [one.prev for one in events] == [GENESIS, body_hash(payloads[0])]
    assert [(one.seq, one.data) for one in await shop.all_waiting(Stream.RESULTS)] == [(1, result)]


async def test_a_message_tells_when_it_was_written_and_how_sure_that_is(shop: Shop) -> None:
    await shop.spool.record(event())
    shop.time.learn(1_800_000_000_000, asked_at=1000.0, answered_at=1000.1)
    shop.clock.advance(1.0)
    await shop.spool.record(event())

    before, after = await shop.all_waiting(Stream.EVENTS)

    assert (before.ts, before.clk_unc_ms, before.mono_ms) == (
        "2027-03-01T08:00:00.000Z",
        -1,
        1_000_000,
    )
    assert (after.ts, after.clk_unc_ms, after.mono_ms) == (
        "2027-01-15T08:00:00.950Z",
        50,
        1_001_000,
    )


async def test_appended_rows_are_announced_in_order_as_stored(shop: Shop) -> None:
    await shop.spool.record(event("a"), event("b"))
    await shop.spool.record(event("c"))

    assert shop.heard == await shop.spool.waiting(Stream.EVENTS, START, 10)
    assert shop.spool.pending == 3


async def test_numbers_and_waiting_rows_continue_after_a_restart(tmp_path: Path) -> None:
    first = Shop(tmp_path)
    await first.spool.record(event("a"), event("b"))
    stored = await first.spool.waiting(Stream.EVENTS, START, 10)
    await first.journal.close()

    second = Shop(tmp_path)
    await second.spool.load()
    await second.spool.record(event("c"))
    events = await second.all_waiting(Stream.EVENTS)

    assert second.spool.pending == 3
    assert (await second.spool.waiting(Stream.EVENTS, START, 2)) == stored
    assert (events[2].seq, events[2].boot, events[2].prev) == (3, 2, body_hash(stored[1].payload))
    await second.journal.close()


async def test_only_what_is_acknowledged_is_released(shop: Shop) -> None:
    await shop.spool.record(*[event(str(number)) for number in range(6)])

    released = await shop.spool.acknowledge(Ack(stream="ev", epoch=1, upto=2, also=[5]))

    assert released == Released(3)
    assert await shop.seqs(Stream.EVENTS) == [(1, 3), (1, 4), (1, 6)]
    assert shop.spool.pending == 3


async def test_acknowledgements_may_repeat_and_come_in_any_order(shop: Shop) -> None:
    await shop.spool.record(*[event(str(number)) for number in range(4)])

    outcomes = [
        await shop.spool.acknowledge(Ack(stream="ev", epoch=1, upto=3)),
        await shop.spool.acknowledge(Ack(stream="ev", epoch=1, upto=1)),
        await shop.spool.acknowledge(Ack(stream="ev", epoch=1, upto=3, also=[2, 2])),
    ]

    assert [outcome.count for outcome in outcomes] == [3, 0, 0]
    assert shop.spool.pending == 1


async def test_an_acknowledgement_of_another_stream_or_epoch_releases_nothing(shop: Shop) -> None:
    await shop.spool.record(event())

    await shop.spool.acknowledge(Ack(stream="tx", epoch=0, upto=1))
    await shop.spool.acknowledge(Ack(stream="ev", epoch=0, upto=1))
    await shop.spool.acknowledge(Ack(stream="??", epoch=1, upto=1))

    assert shop.spool.pending == 1


async def test_a_rejected_message_waits_no_more_and_its_code_is_kept(shop: Shop) -> None:
    await shop.spool.record(event("a"), event("b"))

    released = await shop.spool.acknowledge(
        Ack(stream="ev", epoch=1, upto=2, reject=[Rejected(seq=2, code="unreadable")])
    )

    codes = await shop.journal.read(
        lambda db: db.execute("SELECT seq, reject_code FROM outbox ORDER BY seq").fetchall()
    )
    assert released == Released(2, rejected=1)
    assert codes == [(1, None), (2, "unreadable")]


async def test_acknowledged_rows_can_be_sent_again_while_they_are_kept(shop: Shop) -> None:
    await shop.spool.record(*[event(str(number)) for number in range(5)])
    await shop.spool.acknowledge(Ack(stream="ev", epoch=1, upto=5))

    rows = await shop.spool.again(Stream.EVENTS, 1, 2, 4, limit=10)

    assert rows == shop.heard[1:4]


async def test_old_rows_are_forgotten_only_when_acknowledged(shop: Shop) -> None:
    await shop.spool.record(*[event(str(number)) for number in range(4)])
    await shop.spool.acknowledge(Ack(stream="ev", epoch=1, upto=3))

    shop.clock.advance(KEPT_S)
    too_early = await shop.spool.forget_old()
    shop.clock.advance(1)
    in_pieces = [await shop.spool.forget_old(limit=2) for _ in range(3)]

    assert too_early == 0
    assert in_pieces == [2, 1, 0]
    assert await shop.seqs(Stream.EVENTS) == [(1, 4)]


async def test_the_age_of_the_oldest_waiting_row_is_told(shop: Shop) -> None:
    empty = await shop.spool.level()
    await shop.spool.record(event())
    shop.clock.advance(90)
    await shop.spool.record(event())

    assert empty == (0, 0)
    assert await shop.spool.level() == (2, 90)


async def test_months_of_waiting_rows_are_read_in_pieces(shop: Shop) -> None:
    await shop.spool.record(*[event(str(number)) for number in range(300)])

    pieces, after = [], START
    while piece := await shop.spool.waiting(Stream.EVENTS, after, 64):
        pieces.append(len(piece))
        after = piece[-1].position

    assert pieces == [64, 64, 64, 64, 44]


# --- a journal that cannot be continued ------------------------------------------------------------------------


async def test_an_acknowledgement_of_rows_never_written_shows_an_old_copy(shop: Shop) -> None:
    await shop.spool.record(event("a"), event("b"))

    later_seq = await shop.spool.acknowledge(Ack(stream="ev", epoch=1, upto=9))
    later_epoch = await shop.spool.acknowledge(Ack(stream="ev", epoch=2, upto=0))

    assert later_seq == later_epoch == Released(0, is_from_later=True)
    assert shop.spool.pending == 2


async def test_starting_over_seals_what_waits_anew_in_a_later_epoch(shop: Shop) -> None:
    messages: list[StreamData] = [event("a"), event("b"), payment("ts_1"), event("c")]
    await shop.spool.record(*messages)
    await shop.spool.acknowledge(Ack(stream="ev", epoch=1, upto=1))
    originals = await shop.all_waiting(Stream.EVENTS)
    shop.clock.advance(500)

    await shop.spool.start_over(5, event("begun anew"))

    events = await shop.all_waiting(Stream.EVENTS)
    payments = await shop.all_waiting(Stream.TRANSACTIONS)
    assert await shop.seqs(Stream.EVENTS) == [(5, 1), (5, 2), (5, 3)]
    assert [one.data for one in events] == [event("begun anew"), event("b"), event("c")]
    assert [one.data for one in payments] == [payment("ts_1")]
    assert [(one.ts, one.mono_ms) for one in events[1:]] == [
        (one.ts, one.mono_ms) for one in originals
    ]
    assert {one.id for one in events} & {one.id for one in originals} == set()
    assert shop.spool.pending == 4


async def test_the_later_epoch_is_kept_outside_the_journal_too(tmp_path: Path) -> None:
    first = Shop(tmp_path)
    await first.spool.start_over(5, event("begun anew"))
    await first.journal.close()
    (tmp_path / "journal.db").unlink()

    second = Shop(tmp_path)

    assert second.journal.epoch == 6
    await second.journal.close()


# --- the closing of a day --------------------------------------------------------------------------------------


async def test_the_first_look_at_a_new_day_closes_the_day_before(shop: Shop) -> None:
    await shop.spool.close_day()
    await shop.spool.record(
        payment("ts_1", 1000),
        payment("ts_2", 250, outcome="declined"),
        payment("ts_3", 300, kind="refund"),
        payment("ts_4", 500, currency="CHF"),
    )
    not_yet = await shop.spool.close_day()
    shop.clock.set_wall(device_clock.START + timedelta(days=1))

    closed = await shop.spool.close_day()
    again = await shop.spool.close_day()

    rows = await shop.spool.waiting(Stream.TRANSACTIONS, START, 10)
    assert (not_yet, closed, again) == (False, True, False)
    assert open_envelope(rows[-1].payload).data == DailyClosing(
        day="2027-03-01",
        first_seq=1,
        last_seq=4,
        sums=[
            CurrencySum(currency="CHF", count=1, sum_minor=500),
            CurrencySum(currency="EUR", count=2, sum_minor=700),
        ],
        last_hash=body_hash(rows[3].payload),
    )


async def test_the_next_closing_begins_behind_the_last_and_empty_days_have_none(shop: Shop) -> None:
    await shop.spool.close_day()
    await shop.spool.record(payment("ts_1"))
    shop.clock.set_wall(device_clock.START + timedelta(days=1))
    await shop.spool.close_day()
    shop.clock.set_wall(device_clock.START + timedelta(days=2))
    empty = await shop.spool.close_day()
    await shop.spool.record(payment("ts_2"))
    shop.clock.set_wall(device_clock.START + timedelta(days=3))

    await shop.spool.close_day()

    closing = (await shop.all_waiting(Stream.TRANSACTIONS))[-1].data
    assert not empty
    assert isinstance(closing, DailyClosing)
    assert (closing.day, closing.first_seq, closing.last_seq) == ("2027-03-03", 3, 3)


async def test_a_closing_counts_rows_that_were_acknowledged_long_before(shop: Shop) -> None:
    await shop.spool.close_day()
    await shop.spool.record(payment("ts_1", 1000))
    await shop.spool.acknowledge(Ack(stream="tx", epoch=1, upto=1))
    shop.clock.set_wall(device_clock.START + timedelta(days=1))

    await shop.spool.close_day()

    (closing,) = [one.data for one in await shop.all_waiting(Stream.TRANSACTIONS)]
    assert isinstance(closing, DailyClosing)
    assert closing.sums == [CurrencySum(currency="EUR", count=1, sum_minor=1000)]


def test_positions_sort_by_epoch_first() -> None:
    assert START < Position(1, 1) < Position(1, 2) < Position(2, 1)


async def test_a_card_number_in_a_message_is_masked_before_it_is_sealed_and_told_of(
    shop: Shop,
) -> None:
    number = "4761739001010119"

    await shop.spool.record(DeviceEvent(kind="reader.quirk", severity="info", text=f"saw {number}"))
    await shop.spool.record(DeviceEvent(kind="reader.quirk", severity="info", text=f"saw {number}"))

    told = [open_envelope(row.payload).data for row in shop.heard]
    assert [one.kind for one in told if isinstance(one, DeviceEvent)] == [
        "reader.quirk",
        "card_data.masked",
        "reader.quirk",
    ]
    assert all(number.encode() not in row.payload for row in shop.heard)


async def test_what_the_net_caught_in_a_log_is_told_with_the_next_look_around(shop: Shop) -> None:
    shop.spool.net.noticed("log.event")

    await shop.spool.tell_caught()
    await shop.spool.tell_caught()

    (told,) = [open_envelope(row.payload).data for row in shop.heard]
    assert isinstance(told, DeviceEvent)
    assert told.facts == {"field": "log.event"}
