"""Numbers that must not leave the agent, and numbers of keys that must not come twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.card_data import CardNet, KsnWatch
from agent.journal import Transaction
from protocols.cloud.events import AuthorizationAsk, DeviceEvent, SealedCard
from protocols.readers import ksn as numbers

PAN = "4761739001010119"
MASKED = "476173******0119"
KSN = bytes.fromhex("ffff9876543210e00000")


def at(count: int) -> bytes:
    return (int.from_bytes(KSN, "big") + count).to_bytes(10, "big")


@pytest.fixture
def tx() -> Iterator[Transaction]:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    yield Transaction(db, 1, 1)
    db.close()


def an_event(text: str = "", **facts: str) -> DeviceEvent:
    return DeviceEvent(kind="reader.quirk", severity="info", text=text, facts=facts)


# --- key serial numbers ---


def test_counters_that_grow_raise_nothing(tx: Transaction) -> None:
    assert [KsnWatch().seen(tx, "S1", at(count)) for count in (1, 2, 8, 4096)] == [None] * 4


@pytest.mark.parametrize("later", [5, 4, 1])
def test_a_counter_that_repeats_or_goes_back_is_an_error(tx: Transaction, later: int) -> None:
    KsnWatch().seen(tx, "S1", at(5))

    event = KsnWatch().seen(tx, "S1", at(later), reader_id="rd_1")

    assert event is not None
    assert (event.kind, event.severity, event.reader_id) == (
        "reader.ksn_repeated",
        "error",
        "rd_1",
    )
    assert (event.facts["counter"], event.facts["highest"]) == (str(later), "5")


def test_going_back_once_does_not_make_the_next_numbers_good(tx: Transaction) -> None:
    watch = KsnWatch()
    watch.seen(tx, "S1", at(5))
    watch.seen(tx, "S1", at(2))

    assert watch.seen(tx, "S1", at(3)) is not None
    assert watch.seen(tx, "S1", at(6)) is None


def test_each_reader_and_each_key_counts_for_itself(tx: Transaction) -> None:
    watch = KsnWatch()
    watch.seen(tx, "S1", at(5))

    assert watch.seen(tx, "S2", at(5)) is None
    assert watch.seen(tx, "S1", b"\x01" + at(5)[1:]) is None
    assert watch.seen(tx, "S1", bytes.fromhex("123456789012345600000005")) is None


def test_a_key_that_is_nearly_used_up_is_told_of_once(tx: Transaction) -> None:
    last_three = [at(count) for count in (0x1FF000, 0x1FF400, 0x1FF800)]
    assert [numbers.remaining(ksn) for ksn in last_three] == [12, 1, 0]

    events = [KsnWatch(warn_below=5).seen(tx, "S1", ksn) for ksn in last_three]

    assert [event.kind if event else None for event in events] == [
        None,
        "reader.ksn_remaining",
        None,
    ]


def test_a_number_of_no_known_length_is_told_of_and_stops_nothing(tx: Transaction) -> None:
    event = KsnWatch().seen(tx, "S1", b"\1\2\3")

    assert event is not None
    assert event.kind == "reader.ksn_unreadable"


# --- the net ---


def test_a_message_without_card_numbers_stays_the_same_object() -> None:
    net = CardNet()
    message = an_event("all well at 2026-11-23T23:36:00.000Z", counter="123456")

    assert net.masked(message) is message
    assert not net.caught


@pytest.mark.parametrize("written", [PAN, "4761 7390 0101 0119", "4761-7390-0101-0119"])
def test_a_card_number_in_a_text_is_masked_and_told_of_once(written: str) -> None:
    net = CardNet()

    first = net.masked(an_event(f"card {written} was read"))
    second = net.masked(an_event(f"card {written} again"))
    events = net.take_events()

    assert "0119" in first.text
    assert "9001" not in first.text.replace(" ", "").replace("-", "")
    assert "9001" not in second.text.replace(" ", "").replace("-", "")
    assert net.caught == {"DeviceEvent.text": 2}
    assert [(event.kind, event.facts) for event in events] == [
        ("card_data.masked", {"field": "DeviceEvent.text"})
    ]
    assert net.take_events() == []


def test_a_number_in_a_fact_is_masked_and_the_place_is_named_without_it() -> None:
    net = CardNet()

    masked = net.masked(an_event(said=PAN, **{PAN: "x"}))

    assert masked.facts == {"said": MASKED, MASKED: "x"}
    assert PAN not in repr(net.take_events())


def test_sealed_bytes_and_names_are_left_alone() -> None:
    net = CardNet()
    sealed = bytes.fromhex("d76df8efbef4d3") * 30
    ask = AuthorizationAsk(
        session_id=f"ts_{PAN}",
        tap_id="tap_1",
        reader_id="rd_1",
        amount_minor=int(PAN),
        currency="EUR",
        card=SealedCard(
            format="idtech_neo",
            scheme="dukpt-tdes",
            ksn=KSN,
            data=sealed,
            serial_number="490154203237518",
            masked_pan=PAN,
        ),
    )

    masked = net.masked(ask)

    assert masked.card.masked_pan == MASKED
    assert masked.card.data == sealed
    assert masked.card.serial_number == "490154203237518"
    assert (masked.session_id, masked.amount_minor) == (ask.session_id, ask.amount_minor)


@given(st.text(max_size=60), st.integers(0, 10**9))
@settings(max_examples=60)
def test_whatever_stands_around_a_number_it_does_not_get_through(around: str, count: int) -> None:
    quiet = "".join(one for one in around if not one.isdecimal()) + "x"

    masked = CardNet().masked(an_event(f"{quiet}{PAN}{quiet}", count=str(count)))

    assert PAN not in msgspec.json.encode(masked).decode()
    assert masked.facts == {"count": str(count)}


def test_plain_values_are_walked_too() -> None:
    net = CardNet()

    assert net.masked({"lines": [f"A {PAN}"], "n": 4}, "receipt") == {
        "lines": [f"A {MASKED}"],
        "n": 4,
    }
    assert net.caught == {"receipt.lines": 1}
