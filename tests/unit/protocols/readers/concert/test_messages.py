"""The request and its answer, and known frames of another implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.money import Money
from protocols.readers.concert import messages
from protocols.readers.concert.decode import describe
from protocols.readers.concert.frames import Frame, FrameStream, Message, Signal, encode_frame
from protocols.readers.concert.messages import Answer, Request

VECTORS = [
    json.loads(line) for line in (Path(__file__).parent / "vectors.jsonl").read_text().splitlines()
]
Vector = dict[str, Any]  # one line of the file
VISA = "4111111111111111"


@pytest.mark.parametrize("vector", VECTORS[:2], ids=["lrc_00", "lrc_02"])
def test_known_requests_are_read_and_made_again(vector: Vector) -> None:
    recorded, expect = bytes.fromhex(vector["hex"]), vector["expect"]

    (frame,) = FrameStream().feed(recorded)

    assert isinstance(frame, Message)
    request = messages.decode_request(frame.body)
    assert request == Request(
        Money(expect["amount_minor"], "EUR"),
        expect["pos"],
        expect["payment_mode"],
        expect["transaction_type"],
        delay=expect["delay"],
        authorization=expect["auto"],
    )
    number = int(expect["currency_numeric"])
    assert encode_frame(messages.encode_request(request, number)) == recorded
    assert len(recorded) == expect["frame_len"] == 37


def test_a_known_answer_is_read_and_made_again() -> None:
    recorded, expect = bytes.fromhex(VECTORS[2]["hex"]), VECTORS[2]["expect"]

    (frame,) = FrameStream().feed(recorded)

    assert isinstance(frame, Message)
    answer = messages.decode_answer(frame.body)
    assert answer == Answer("01", 0, Money(1250, "EUR"), "1", expect["private"])
    assert encode_frame(messages.encode_answer(answer, 978)) == recorded
    assert len(recorded) == expect["frame_len"] == 28


def test_a_nul_is_a_check_byte_like_any_other() -> None:
    recorded = bytes.fromhex(VECTORS[0]["hex"])

    frames = FrameStream().feed(recorded + b"\x04")

    assert recorded[-1] == 0
    assert [type(frame) for frame in frames] == [Message, Signal]
    assert isinstance(frames[0], Message)
    assert frames[0].is_sound


def test_a_long_answer_loses_its_report_before_anybody_reads_it() -> None:
    answer = Answer("01", 0, Money(1250, "EUR"), "1", "REF1")
    body = messages.encode_answer(answer, 978, report=f"CB {VISA} 3012")

    read = messages.decode_answer(body)
    described = describe(encode_frame(body))

    assert len(encode_frame(body)) == 83
    assert read == Answer("01", 0, Money(1250, "EUR"), "1", "REF1", had_report=True)
    assert VISA not in repr(read) + str(described) + repr(FrameStream().feed(encode_frame(body)))
    assert described["report"] == "dropped: it can hold a whole card number"


def test_messages_are_described() -> None:
    asked = describe(bytes.fromhex(VECTORS[1]["hex"]))
    told = describe(bytes.fromhex(VECTORS[2]["hex"]))

    assert asked["kind"] == "request"
    assert (asked["transaction"], asked["amount"], asked["lrc"]) == ("refund", "42.42 EUR", "02")
    assert (told["kind"], told["meaning"]) == ("answer", "accepted")
    assert describe(b"\x05") == {"kind": "enq"}


@pytest.mark.parametrize(
    "recorded", [b"", b"\x00", b"\x05\x04", b"\x02abc\x03\x00", b"\x02abc", encode_frame(b"abc")]
)
def test_what_is_no_message_is_not_described(recorded: bytes) -> None:
    with pytest.raises(MalformedMessage):
        describe(recorded)


@pytest.mark.parametrize(
    "request_",
    [
        Request(Money(100_000_000, "EUR")),
        Request(Money(1, "EUR"), cash_desk="1"),
        Request(Money(1, "EUR"), mode="Z"),
        Request(Money(1, "EUR"), transaction="9"),
        Request(Money(1, "EUR"), private="ELEVEN CHARS"),
        Request(Money(1, "EUR"), private="\x03"),
    ],
)
def test_what_has_no_place_is_refused(request_: Request) -> None:
    with pytest.raises(MalformedMessage):
        messages.encode_request(request_, 978)


@given(
    st.integers(0, messages.LARGEST_AMOUNT),
    st.sampled_from(sorted(messages.MODES)),
    st.sampled_from(sorted(messages.TRANSACTIONS)),
    st.text("ABCDEFGHIJ 0123456789", max_size=10).map(str.rstrip),
)
def test_what_is_asked_is_what_is_read(
    minor: int, mode: str, transaction: str, private: str
) -> None:
    request = Request(Money(minor, "EUR"), "07", mode, transaction, private)

    assert messages.decode_request(messages.encode_request(request, 978)) == request


@given(st.binary(max_size=90))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        answer = messages.decode_answer(body)
    except MalformedMessage:
        return
    assert len(body) in {25, 80}
    assert 0 <= answer.result <= 9


_BODIES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=80)


@given(
    st.lists(
        st.one_of(st.sampled_from(Signal), _BODIES.map(lambda one: Message(one.encode()))),
        max_size=8,
    ),
    st.integers(1, 50),
)
def test_frames_come_out_as_they_went_in_however_split(frames: list[Frame], piece: int) -> None:
    sent = b"".join(
        bytes((frame,)) if isinstance(frame, Signal) else encode_frame(frame.body)
        for frame in frames
    )
    stream = FrameStream()

    seen = [
        frame for at in range(0, len(sent), piece) for frame in stream.feed(sent[at : at + piece])
    ]

    assert seen == frames
    assert stream.skipped == 0


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_at_all_are_taken(pieces: list[bytes]) -> None:
    stream = FrameStream()

    total = sum(len(stream.feed(piece)) for piece in pieces)

    assert total <= sum(map(len, pieces))
