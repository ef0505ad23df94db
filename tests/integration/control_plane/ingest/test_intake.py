"""What devices send gets into the ledger exactly once, whatever happens to it on the way."""

from __future__ import annotations

import threading

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import READERS
from control_plane.ingest.intake import Intake, IntakeAway, Uplink
from control_plane.ingest.models import INBOX
from control_plane.transactions import queries
from control_plane.transactions.ledger import append
from control_plane.transactions.models import Kind, Method, SaleChannel, Status
from protocols.cloud.events import (
    CommandResult,
    DeviceEvent,
    JobProgress,
    ReaderTotals,
    SessionStep,
)
from protocols.cloud.topics import Channel, Stream
from protocols.ids import new_id
from tests.fakes.clock import FakeClock
from tests.fakes.device_outbox import DeviceOutbox, sale
from tests.fakes.fleet import Shop, acked


def test_a_sale_becomes_one_row_of_its_device_and_shop(shop: Shop) -> None:
    outbox = shop.device()

    answers = shop.send(outbox, outbox.sale(session_id="ts_first", reference="order 7"))

    (row,) = shop.ledger()
    assert (row.merchant_id, row.location_id, row.device_id) == (
        shop.merchant_id, shop.location_id, "dev-aaaa",
    )  # fmt: skip
    assert (row.kind, row.status, row.method) == (Kind.SALE, Status.APPROVED, Method.CARD)
    assert (row.channel, row.amount_minor, row.currency) == (SaleChannel.IN_PERSON, 1234, "EUR")
    assert (row.session_id, row.external_id, row.reference) == ("ts_first", "ts_first", "order 7")
    assert (row.occurred_at, row.received_at) == (shop.clock.now(), shop.clock.now())
    assert acked(answers) == [("tx", 1, 1, [])]


def test_the_same_message_again_changes_nothing_and_is_acknowledged(shop: Shop) -> None:
    outbox = shop.device()
    payload = outbox.sale()
    shop.send(outbox, payload)

    again = [
        shop.send(outbox, payload, payload),
        shop.send(outbox, payload, intake=shop.new_intake()),
    ]

    assert shop.seqs() == [1]
    assert [acked(one) for one in again] == [[("tx", 1, 1, [])]] * 2
    assert (shop.quarantined(), shop.alarms()) == ([], [])


def test_messages_beyond_a_gap_are_kept_and_named(shop: Shop) -> None:
    outbox = shop.device()
    first, second, third, fourth = (outbox.sale() for _ in range(4))

    beyond = shop.send(outbox, fourth, third)
    healed = shop.send(outbox, second, first)

    assert acked(beyond) == [("tx", 1, 0, [3, 4])]
    assert acked(healed) == [("tx", 1, 4, [])]
    assert shop.seqs() == [1, 2, 3, 4]
    assert shop.alarms() == []


@given(
    sends=st.lists(st.lists(st.integers(0, 23), min_size=1, max_size=12), max_size=12),
    restarts=st.sets(st.integers(0, 11)),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_order_any_repetition_any_restart_gives_the_same_ledger(
    sqlite_shop: Shop, sends: list[list[int]], restarts: set[int]
) -> None:
    outbox = sqlite_shop.device(f"dev-{new_id('x')[2:]}")
    payloads = [outbox.sale() for _ in range(24)]
    intake = sqlite_shop.new_intake()
    for at, batch in enumerate(sends):
        if at in restarts:
            intake = sqlite_shop.new_intake()
        sqlite_shop.send(outbox, *(payloads[one] for one in batch), intake=intake)

    (answer,) = sqlite_shop.send(outbox, *payloads, intake=intake)

    rows = [row for row in sqlite_shop.ledger() if row.device_id == outbox.device_id]
    assert [row.seq for row in rows] == list(range(1, 25))
    assert sum(row.amount_minor for row in rows) == 24 * 1234
    assert (answer.ack.upto, answer.ack.also, answer.ack.reject) == (24, [], [])
    assert [one for one in sqlite_shop.quarantined() if one.device_id == outbox.device_id] == []


def test_a_replay_of_a_whole_month_changes_nothing(shop: Shop) -> None:
    outbox = shop.device()
    payloads = [outbox.sale() for _ in range(700)]
    shop.send(outbox, *payloads)

    answers = shop.send(outbox, *reversed(payloads), intake=shop.new_intake())

    assert len(shop.ledger()) == 700
    assert acked(answers) == [("tx", 1, 700, [])]
    assert shop.quarantined() == []


def test_another_message_under_a_known_key_is_set_aside_and_raises_an_alarm(shop: Shop) -> None:
    outbox = shop.device()
    shop.send(outbox, outbox.sale(session_id="ts_true"))
    forger = DeviceOutbox(outbox.device_id)

    (answer,) = shop.send(
        outbox, forger.sale(session_id="ts_forged", amount_minor=1), intake=shop.new_intake()
    )

    assert [row.session_id for row in shop.ledger()] == ["ts_true"]
    (kept,) = shop.quarantined()
    assert (kept.code, kept.stream, kept.epoch, kept.seq) == ("changed", "tx", 1, 1)
    assert "ts_forged" in kept.raw
    assert [(one.seq, one.code) for one in answer.ack.reject] == [(1, "changed")]
    assert shop.alarms() == ["ingest.quarantined"]


def test_the_same_id_under_another_key_is_set_aside(shop: Shop) -> None:
    outbox = shop.device()
    name = "0196a1b2-0000-7000-8000-000000000001"
    first = outbox.put(Stream.TRANSACTIONS, sale(session_id="ts_one"), id=name)
    second = outbox.put(Stream.TRANSACTIONS, sale(session_id="ts_two"), id=name)
    shop.send(outbox, first)

    (answer,) = shop.send(outbox, second, outbox.sale())

    assert shop.seqs() == [1, 3]
    assert [one.code for one in shop.quarantined()] == ["changed"]
    assert (answer.ack.upto, [one.seq for one in answer.ack.reject]) == (3, [2])


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_second_result_of_one_session_is_set_aside(shop: Shop, in_one_batch: bool) -> None:
    outbox = shop.device()
    first = outbox.sale(session_id="ts_once", amount_minor=100)
    second = outbox.sale(session_id="ts_once", amount_minor=900)
    batches = [[first, second]] if in_one_batch else [[first], [second]]

    for batch in batches:
        shop.send(outbox, *batch)

    assert [row.amount_minor for row in shop.ledger()] == [100]
    assert [(one.code, one.seq) for one in shop.quarantined()] == [("session_twice", 2)]
    assert shop.cursors()[0].upto == 2
    assert shop.alarms() == ["ingest.quarantined"]


def test_what_cannot_be_understood_never_holds_up_the_others(shop: Shop) -> None:
    outbox = shop.device()
    good, bad, later = outbox.sale(), outbox.sale(), outbox.sale()
    broken = msgspec.json.encode(msgspec.json.decode(bad) | {"data": {"type": "payment.result"}})

    (answer,) = shop.send(outbox, good, broken, b"not even JSON", later)

    assert shop.seqs() == [1, 3]
    assert (answer.ack.upto, [one.seq for one in answer.ack.reject]) == (3, [2])
    assert {(one.code, one.seq) for one in shop.quarantined()} == {
        ("malformed", None),
        ("malformed", 2),
    }


def test_a_value_that_the_database_does_not_take_costs_only_its_own_message(shop: Shop) -> None:
    outbox = shop.device()
    payloads = [outbox.sale() for _ in range(9)]
    huge = outbox.sale(receipt_number=2**70)
    long = outbox.sale(application_label="x" * 500)
    payloads += [outbox.sale() for _ in range(9)]

    shop.send(outbox, *payloads[:9], huge, long, *payloads[9:])

    assert shop.seqs() == [*range(1, 10), *range(11, 21)]
    assert [(one.code, one.seq) for one in shop.quarantined()] == [("malformed", 10)]
    label = next(row.application_label for row in shop.ledger() if row.seq == 11)
    assert label.startswith("x" * 100)
    assert shop.cursors()[0].upto == 20


@pytest.mark.parametrize(
    "state",
    [DeviceState.SUSPENDED, DeviceState.REVOKED, DeviceState.REPLACED, DeviceState.RETIRED],
)
def test_nothing_is_taken_in_from_a_device_out_of_service_and_nothing_is_acknowledged(
    shop: Shop, state: DeviceState
) -> None:
    outbox = shop.device(state=state)

    answers = shop.send(outbox, outbox.sale())

    assert (answers, shop.ledger(), shop.cursors(), shop.quarantined()) == ([], [], [], [])


def test_a_suspended_device_loses_nothing(shop: Shop) -> None:
    outbox = shop.device(state=DeviceState.SUSPENDED)
    payloads = [outbox.sale(), outbox.sale()]
    shop.send(outbox, *payloads)
    shop.set_state("dev-aaaa", DeviceState.ACTIVE)

    answers = shop.send(outbox, *payloads, intake=shop.new_intake())

    assert acked(answers) == [("tx", 1, 2, [])]
    assert shop.seqs() == [1, 2]


def test_a_device_that_does_not_exist_is_not_heard(shop: Shop) -> None:
    assert shop.send(DeviceOutbox("dev-nobody"), DeviceOutbox("dev-nobody").sale()) == []
    assert shop.ledger() == []


def test_two_processes_that_take_in_the_same_stream_notice_each_other(shop: Shop) -> None:
    outbox = shop.device()
    one, other = shop.new_intake(), shop.new_intake()
    payloads = [outbox.sale() for _ in range(6)]

    shop.send(outbox, payloads[0], intake=one)
    shop.send(outbox, *payloads[:3], intake=other)
    answers = shop.send(outbox, *payloads[1:], intake=one)

    assert shop.seqs() == [1, 2, 3, 4, 5, 6]
    assert acked(answers) == [("tx", 1, 6, [])]
    assert shop.quarantined() == []


def test_four_threads_that_send_the_same_month_write_it_once(shop: Shop) -> None:
    outbox = shop.device()
    payloads = [outbox.sale() for _ in range(120)]
    ready = threading.Barrier(4)

    def send(start: int) -> None:
        intake = shop.new_intake()
        ready.wait()
        for at in range(0, 120, 10):
            turned = (at + start * 30) % 120
            for _ in range(20):
                try:
                    shop.send(outbox, *payloads[turned : turned + 10], intake=intake)
                    break
                except IntakeAway:
                    continue

    threads = [threading.Thread(target=send, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert shop.seqs() == list(range(1, 121))
    assert (shop.cursors()[0].upto, shop.quarantined()) == (120, [])


def test_a_broken_chain_raises_an_alarm_and_the_money_is_kept(shop: Shop) -> None:
    outbox = shop.device()
    first = outbox.sale()
    second = outbox.put(Stream.TRANSACTIONS, sale(), prev="f" * 32)

    shop.send(outbox, second, first)

    assert shop.seqs() == [1, 2]
    assert shop.alarms() == ["stream.chain_broken"]
    assert next(one.facts for one in shop.events())["seq"] == "2"


def test_what_is_missing_for_too_long_is_asked_for(shop: Shop, clock: FakeClock) -> None:
    outbox = shop.device()
    payloads = [outbox.sale() for _ in range(6)]
    early = shop.send(outbox, payloads[0], payloads[3])
    clock.advance(61)
    late = shop.send(outbox, payloads[5])
    at_once = shop.send(outbox, payloads[5])
    clock.advance(31)
    again = shop.send(outbox, payloads[5])

    asked = [answers[0].ack.resend for answers in (early, late, at_once, again)]
    assert asked == [[], [(2, 3), (5, 5)], [], [(2, 3), (5, 5)]]


def test_a_new_epoch_closes_the_old_one_and_says_from_where_it_is_incomplete(shop: Shop) -> None:
    old = shop.device()
    shop.send(old, old.sale(), old.sale())
    new = DeviceOutbox(old.device_id, epoch=2)

    shop.send(new, new.sale())
    late = shop.send(old, old.sale())

    assert [(row.epoch, row.seq) for row in shop.ledger()] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    first, second = shop.cursors()
    assert (first.closed_at, second.closed_at) == (shop.clock.now(), None)
    (closed,) = [one for one in shop.events() if one.kind == "stream.epoch_closed"]
    assert closed.facts == {"stream": "tx", "epoch": "1", "incomplete_from": "3"}
    assert shop.device_row().epoch == 2
    assert acked(late) == [("tx", 1, 3, [])]


def test_card_numbers_never_reach_the_database(shop: Shop) -> None:
    outbox = shop.device()
    card = "4761739001010119"
    event = DeviceEvent(
        kind="reader.odd", severity="warning", text=f"saw {card}", facts={"a": card}
    )
    broken = outbox.sale(note=card).replace(b'"kind":"sale"', b'"kind":"gift"')

    shop.send(
        outbox, broken, outbox.sale(note=card, explanation=f"{card[:4]} {card[4:8]} 01010119")
    )
    shop.send(outbox, outbox.put(Stream.EVENTS, event), stream=Stream.EVENTS)

    stored = "".join(
        str(tuple(row)) for row in [*shop.ledger(), *shop.quarantined(), *shop.events()]
    )
    assert len(shop.ledger()) == 1
    assert card not in stored.replace(" ", "")
    assert "476173******0119" in stored


def test_text_that_databases_cannot_hold_is_stored_without_it(shop: Shop) -> None:
    outbox = shop.device()

    shop.send(outbox, outbox.sale(note="a\x00b"), outbox.sale(note="é ✓ 漢"))

    assert [row.note for row in shop.ledger()] == ["ab", "é ✓ 漢"]


def test_every_stream_has_its_own_numbers_and_is_known_again(shop: Shop) -> None:
    outbox = shop.device()
    reader = "rd_01m84mg76afkw90d0nd4w86764"
    messages = {
        Stream.EVENTS: [
            outbox.put(Stream.EVENTS, SessionStep(session_id="ts_none", step="sent")),
            outbox.put(
                Stream.EVENTS,
                ReaderTotals(
                    reader_id=reader, closed=True, currency="EUR", per_scheme=[("Visa", 1, 1234)]
                ),
            ),
        ],
        Stream.JOBS: [outbox.put(Stream.JOBS, JobProgress(job_id="job_1", state="applied"))],
        Stream.RESULTS: [
            outbox.put(Stream.RESULTS, CommandResult(command_id="cmd_1", status="succeeded"))
        ],
    }
    for stream, payloads in messages.items():
        shop.send(outbox, *payloads, stream=stream)
    before = [tuple(row) for row in shop.events()]

    for stream, payloads in messages.items():
        shop.send(outbox, *payloads, stream=stream, intake=shop.new_intake())

    assert [tuple(row) for row in shop.events()] == before
    assert [one.kind for one in shop.events()] == ["reader.totals", "job.progress"]
    assert [(row.stream, row.upto) for row in shop.cursors()] == [("ev", 2), ("job", 1), ("res", 1)]
    assert len(shop.rows(select(INBOX))) == 4
    assert shop.ledger() == []


def test_a_device_cannot_fill_the_quarantine(shop: Shop) -> None:
    outbox = shop.device()

    for number in range(6):
        shop.send(outbox, *(b"garbage %d" % (number * 50 + at) for at in range(50)))

    assert len(shop.quarantined()) == 100


def test_without_the_database_nothing_is_acknowledged_and_nothing_is_lost(
    sqlite_shop: Shop,
) -> None:
    outbox = sqlite_shop.device()
    payload = outbox.sale()
    sqlite_shop.send(outbox, payload)
    with sqlite_shop.parts.database.connection() as db:
        db.execute(text("ALTER TABLE stream_cursor RENAME TO stream_cursor_away"))

    later = outbox.sale()
    with pytest.raises(IntakeAway):
        sqlite_shop.send(outbox, later)
    assert sqlite_shop.seqs() == [1]

    with sqlite_shop.parts.database.connection() as db:
        db.execute(text("ALTER TABLE stream_cursor_away RENAME TO stream_cursor"))
    assert acked(sqlite_shop.send(outbox, later)) == [("tx", 1, 2, [])]
    assert sqlite_shop.seqs() == [1, 2]


@pytest.mark.parametrize(
    "change", ["UPDATE transactions SET amount_minor = 1", "DELETE FROM transactions"]
)
def test_the_ledger_refuses_to_be_changed(shop: Shop, change: str) -> None:
    outbox = shop.device()
    shop.send(outbox, outbox.sale())

    with pytest.raises(DBAPIError, match="append-only"), shop.parts.database.connection() as db:
        db.execute(text(change))

    assert [row.amount_minor for row in shop.ledger()] == [1234]


def test_another_channel_is_entered_once_for_its_number(shop: Shop) -> None:
    link = {
        "id": new_id("tx"), "merchant_id": shop.merchant_id, "kind": Kind.SALE,
        "status": Status.APPROVED, "channel": SaleChannel.LINK, "method": Method.CARD,
        "amount_minor": 500, "currency": "EUR", "source": "stripe", "external_id": "ch_1",
        "occurred_at": shop.clock.now(),
    }  # fmt: skip

    with shop.parts.database.transaction() as db:
        entered = [append(db, link), append(db, link | {"id": new_id("tx")})]

    assert entered == [True, False]
    (row,) = shop.ledger()
    assert (row.source, row.external_id, row.device_id) == ("stripe", "ch_1", None)


def test_the_ledger_is_searched_and_added_up(shop: Shop) -> None:
    outbox = shop.device()
    shop.send(
        outbox,
        outbox.sale(reference="order 7"),
        outbox.sale(amount_minor=100, kind="refund", session_id="ts_back"),
        outbox.sale(amount_minor=900, outcome="declined"),
        outbox.sale(amount_minor=700, currency="CHF", masked_pan="4111******4242"),
    )

    with shop.parts.database.reading() as db:
        wanted = queries.TransactionFilter(text="ORDER 7")
        found = queries.transactions(db, shop.scope, wanted)
        by_card = queries.transactions(db, shop.scope, queries.TransactionFilter(text="4242"))
        totals = queries.totals(db, shop.scope, queries.TransactionFilter())
        one = queries.of_session(db, shop.scope, "ts_back")

    assert [row.reference for row in found] == ["order 7"]
    assert [row.currency for row in by_card] == ["CHF"]
    assert [(one.currency, one.count, one.net_minor) for one in totals] == [
        ("CHF", 1, 700), ("EUR", 2, 1134),
    ]  # fmt: skip
    assert one is not None
    assert one.kind is Kind.REFUND


def test_an_unknown_channel_of_a_batch_is_left_alone(shop: Shop) -> None:
    outbox = shop.device()

    answers = shop.intake.take_in(
        [
            Uplink(outbox.device_id, Channel.STATE, b""),
            Uplink(outbox.device_id, Channel.CLAIM, b"{}"),
            Uplink(outbox.device_id, Channel.TRANSACTIONS, outbox.sale()),
        ]
    )

    assert acked(answers) == [("tx", 1, 1, [])]
    assert (shop.rows(select(READERS)), shop.quarantined()) == ([], [])


@pytest.mark.parametrize(
    "channel", [Channel.STATE, Channel.PRESENCE, Channel.TELEMETRY, Channel.LOG]
)
def test_a_word_that_nests_without_end_is_set_aside_and_stops_nobody(
    sqlite_shop: Shop, channel: Channel
) -> None:
    shop = sqlite_shop
    outbox = shop.device()
    hostile = shop.device("dev-hostile")

    answers = shop.intake.take_in(
        [
            Uplink(hostile.device_id, channel, b'{"x":' + b"[" * 20_000),
            Uplink(outbox.device_id, Channel.TRANSACTIONS, outbox.sale()),
        ]
    )

    assert acked(answers) == [("tx", 1, 1, [])]
    assert [one.device_id for one in shop.quarantined()] == [hostile.device_id]


def test_an_intake_of_nothing_is_nothing(sqlite_shop: Shop) -> None:
    assert Intake(sqlite_shop.parts.database, sqlite_shop.clock).take_in([]) == []
