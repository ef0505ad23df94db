"""From bytes to values that may be stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.ingest.guard import cleaned_text, looks_harmless
from control_plane.ingest.reading import Read, Unreadable, happened_at, read
from protocols.cloud.envelope import Envelope, body_hash
from protocols.cloud.events import DeviceEvent, PaymentResult, SessionStep
from protocols.cloud.topics import Stream
from tests.fakes.device_outbox import DeviceOutbox, sale

CARD = "4761739001010119"
GROUPED = "4761 7390 0101 0119"


def altered(payload: bytes, **changes: Any) -> bytes:
    """The message with other fields in its envelope."""
    return msgspec.json.encode(msgspec.json.decode(payload) | changes)


def opened(payload: bytes, stream: Stream = Stream.TRANSACTIONS) -> Envelope:
    found = read(stream, payload)
    assert isinstance(found, Read)
    return found.envelope


def refused(payload: bytes, stream: Stream = Stream.TRANSACTIONS) -> Unreadable:
    found = read(stream, payload)
    assert isinstance(found, Unreadable)
    return found


def test_a_sale_is_read_with_the_hash_that_the_next_message_names() -> None:
    payload = DeviceOutbox().sale(reference="order 7")

    found = read(Stream.TRANSACTIONS, payload)

    assert isinstance(found, Read)
    assert isinstance(found.envelope.data, PaymentResult)
    assert found.envelope.data.reference == "order 7"
    assert (found.digest, found.masked) == (body_hash(payload), 0)


@pytest.mark.parametrize(
    "field", ["explanation", "note", "reference", "result_text", "terminal_id"]
)
@pytest.mark.parametrize("number", [CARD, GROUPED, "4761-7390-0101-0119"])
def test_a_card_number_in_a_text_is_masked(field: str, number: str) -> None:
    payload = DeviceOutbox().sale(**{field: f"card {number}."})

    found = read(Stream.TRANSACTIONS, payload)

    assert isinstance(found, Read)
    text = getattr(found.envelope.data, field)
    assert found.masked == 1
    assert "0119" in text
    assert CARD not in text.replace(" ", "").replace("-", "")


def test_a_card_number_on_a_printed_line_or_written_with_escapes_is_masked() -> None:
    escaped = "".join(f"\\u{ord(digit):04x}" for digit in CARD)
    printed = DeviceOutbox().sale(receipt_lines=["TOTAL 12.34", f"PAN {GROUPED}"])
    hidden = DeviceOutbox().sale(note="HERE").replace(b"HERE", escaped.encode())

    texts = [msgspec.json.encode(opened(one)).replace(b" ", b"") for one in (printed, hidden)]

    assert [CARD.encode() in text for text in texts] == [False, False]


@pytest.mark.parametrize("field", ["receipt_number", "trace_number", "result_code"])
def test_a_card_number_where_only_a_number_can_stand_is_refused(field: str) -> None:
    payload = DeviceOutbox().sale(**{field: int(CARD)})

    found = refused(payload)

    assert found.head is not None
    assert "card number" in found.reason
    assert CARD not in cleaned_text(payload)


def test_a_card_number_in_the_facts_of_an_event_is_masked() -> None:
    event = DeviceEvent(kind="reader.odd", severity="info", text="", facts={"raw": CARD, CARD: "x"})

    payload = DeviceOutbox().put(Stream.EVENTS, event)

    assert CARD.encode() not in msgspec.json.encode(opened(payload, Stream.EVENTS).data)


@given(st.integers(0, 200), st.sampled_from(["", " ", "-"]))
def test_the_quick_look_never_lets_a_card_number_through(padding: int, separator: str) -> None:
    number = separator.join(CARD[at : at + 4] for at in range(0, 16, 4))
    payload = DeviceOutbox().sale(note="x" * (padding % 100) + number)

    assert not looks_harmless(payload)


def test_the_quick_look_is_enough_for_most_sales() -> None:
    outbox = DeviceOutbox()

    harmless = [looks_harmless(outbox.sale()) for _ in range(300)]

    assert sum(harmless) > 290


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"v": 2}, "version 2"),
        ({"stream": "ev"}, "stream"),
        ({"seq": 0}, "out of bounds"),
        ({"seq": 2**53}, "out of bounds"),
        ({"epoch": 0}, "out of bounds"),
        ({"epoch": 2**31}, "out of bounds"),
        ({"mono_ms": -1}, "out of bounds"),
        ({"id": "not-a-uuid"}, "UUID"),
        ({"prev": "short"}, "prev"),
        ({"data": {"type": "payment.result"}}, "missing required field"),
        ({"data": {"type": "command.result", "command_id": "cmd_1", "status": "failed"}}, "type"),
    ],
)
def test_what_breaks_the_contract_is_named(changes: dict[str, Any], reason: str) -> None:
    found = refused(altered(DeviceOutbox().sale(), **changes))

    assert reason in found.reason


def test_an_amount_below_zero_or_a_strange_id_is_refused() -> None:
    assert "below zero" in refused(DeviceOutbox().sale(amount_minor=-1)).reason
    assert "characters" in refused(DeviceOutbox().sale(session_id="ts_1,ts_2")).reason


def test_the_key_of_a_message_that_is_not_understood_is_still_known() -> None:
    outbox = DeviceOutbox()
    outbox.sale()
    payload = altered(outbox.sale(), data={"type": "from the future"})

    head = refused(payload).head

    assert head is not None
    assert (head.stream, head.epoch, head.seq) == ("tx", 1, 2)


def test_unknown_fields_are_ignored() -> None:
    payload = DeviceOutbox().sale()
    message = msgspec.json.decode(payload)
    message["data"]["from_the_future"] = {"deep": [1]}

    assert isinstance(opened(msgspec.json.encode(message)).data, PaymentResult)


def test_a_message_that_nests_without_end_is_refused() -> None:
    payload = b'{"data":{"type":"payment.result","x":' + b"[" * 20_000

    assert isinstance(read(Stream.TRANSACTIONS, payload), Unreadable)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    found = read(Stream.TRANSACTIONS, payload)

    assert isinstance(found, Unreadable)
    assert found.digest == body_hash(payload)


@given(st.data())
def test_a_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    payload = bytearray(DeviceOutbox().sale())
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] = data.draw(st.integers(0, 255))

    assert isinstance(read(Stream.TRANSACTIONS, bytes(payload)), Read | Unreadable)


def test_other_streams_carry_their_own_messages() -> None:
    step = SessionStep(session_id="ts_1234", step="sent")

    payload = DeviceOutbox().put(Stream.EVENTS, step)

    assert opened(payload, Stream.EVENTS).data == step
    assert "Invalid value 'session.step'" in refused(payload).reason


NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
#: The device's monotonic clock began five minutes ago.
ANCHOR_MS = int((NOW - timedelta(minutes=5)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("ts", "clk_unc_ms", "anchor_ms", "expected"),
    [
        ("2026-05-04T11:58:00+00:00", 20, ANCHOR_MS, NOW - timedelta(minutes=2)),
        ("2026-05-04T13:58:00+02:00", 20, None, NOW - timedelta(minutes=2)),
        ("2026-05-04T13:00:00+00:00", 20, ANCHOR_MS, NOW),
        ("1970-01-01T00:00:09+00:00", -1, ANCHOR_MS, NOW - timedelta(minutes=4)),
        ("1970-01-01T00:00:09+00:00", -1, None, datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC)),
        ("yesterday", 20, None, NOW),
        ("2026-05-04T11:58:00", 20, None, NOW),
    ],
    ids=[
        "its clock", "another zone", "never later than received", "a clock that was never set",
        "nothing else is known", "no time at all", "a time without a zone",
    ],
)  # fmt: skip
def test_when_it_happened_is_corrected_by_what_is_known(
    ts: str, clk_unc_ms: int, anchor_ms: int | None, expected: datetime
) -> None:
    payload = DeviceOutbox().put(
        Stream.TRANSACTIONS, sale(), ts=ts, clk_unc_ms=clk_unc_ms, mono_ms=60_000
    )

    assert happened_at(opened(payload), NOW, anchor_ms) == expected
