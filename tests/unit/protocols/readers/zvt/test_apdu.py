"""Messages with short and long lengths, and how TCP may cut and join them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.zvt.apdu import LONGEST_APDU, Apdu, ApduStream

_messages = st.builds(
    Apdu,
    st.sampled_from([0x8000, 0x849C, 0x0601, 0x040F, 0x04FF, 0x06D3, 0x0FA1]),
    st.binary(max_size=700),
)


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "06d300"),
        (254, "06d3fe"),
        (255, "06d3ffff00"),
        (256, "06d3ff0001"),
        (65535, "06d3ffffff"),
    ],
)
def test_a_length_above_254_takes_two_more_bytes_low_first(size: int, header: str) -> None:
    encoded = Apdu(0x06D3, bytes(size)).encode()

    assert encoded[: len(header) // 2].hex() == header
    assert len(encoded) == len(header) // 2 + size
    assert Apdu.decode(encoded) == Apdu(0x06D3, bytes(size))


def test_a_short_message_may_be_written_with_a_long_length() -> None:
    assert Apdu.decode(bytes.fromhex("80 00 FF 00 00")) == Apdu(0x8000)


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        Apdu(0x06D3, bytes(65536)).encode()


@pytest.mark.parametrize(
    "encoded", ["", "06", "0600", "800001", "80000000", "06d3ff", "06d3ffff", "06d3ff0100"]
)
def test_a_message_of_another_length_than_it_says_is_refused(encoded: str) -> None:
    with pytest.raises(MalformedMessage):
        Apdu.decode(bytes.fromhex(encoded))


@given(st.lists(_messages, max_size=8), st.data())
def test_a_stream_gives_the_same_messages_however_it_was_cut(
    messages: list[Apdu], data: st.DataObject
) -> None:
    whole = b"".join(message.encode() for message in messages)
    stream = ApduStream()
    found: list[Apdu] = []
    at = 0
    while at < len(whole):
        size = data.draw(st.integers(1, 300))
        found += stream.feed(whole[at : at + size])
        at += size

    assert found == messages
    assert not stream.is_inside()
    assert stream.skipped == 0


def test_noise_between_messages_is_skipped_and_counted() -> None:
    stream = ApduStream()

    found = stream.feed(bytes.fromhex("ff00 800000 55 849c00"))

    assert found == [Apdu(0x8000), Apdu(0x849C)]
    assert stream.skipped == 3


@given(st.binary(max_size=2000))
def test_random_bytes_never_hurt_a_stream(noise: bytes) -> None:
    classes = {message.control >> 8 for message in ApduStream().feed(noise)}

    assert classes <= {0x01, 0x04, 0x05, 0x06, 0x08, 0x0F, 0x80, 0x84}


def test_a_stream_holds_one_message_and_takes_time_linear_in_what_it_reads() -> None:
    stream = ApduStream()

    began = time.process_time()
    stream.feed(b"\xfe" * 200_000)
    stream.feed(bytes.fromhex("800000") * 30_000)
    stream.feed(bytes.fromhex("06d3ffffff"))
    for _ in range(2_000):
        stream.feed(bytes(32))

    assert time.process_time() - began < 5
    assert stream.is_inside()
    assert LONGEST_APDU == 65540


def test_the_repr_of_a_message_shows_no_content() -> None:
    assert "123456" not in repr(Apdu(0x0600, bytes.fromhex("123456")))
