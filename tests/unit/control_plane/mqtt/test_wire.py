"""MQTT packets in and out, against bytes written by hand and against anything at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.mqtt.wire import (
    LARGEST_PACKET,
    Message,
    Packet,
    PacketReader,
    Will,
    WireError,
    encode_connect,
    encode_length,
    encode_publish,
)

topics = st.text(
    st.characters(exclude_characters="+#\0", exclude_categories=["Cs"]), min_size=1, max_size=60
)
payloads = st.binary(max_size=400)
levels = st.sampled_from([4, 5])


@given(topics, payloads, st.integers(0, 65_535), st.booleans(), st.booleans(), levels)
def test_what_is_encoded_is_read_again(
    topic: str, payload: bytes, packet_id: int, retain: bool, duplicate: bool, level: int
) -> None:
    packet = encode_publish(
        topic, payload, packet_id=packet_id, retain=retain, duplicate=duplicate, level=level
    )

    assert PacketReader(level).feed(packet) == [
        Message(topic, payload, packet_id, retain, duplicate)
    ]


@given(st.lists(st.tuples(topics, payloads), max_size=8), st.lists(st.integers(1, 70), max_size=60))
def test_packets_may_be_cut_anywhere(messages: list[tuple[str, bytes]], cuts: list[int]) -> None:
    stream = b"".join(
        encode_publish(topic, payload, packet_id=at + 1)
        for at, (topic, payload) in enumerate(messages)
    )
    reader, found, start = PacketReader(), [], 0

    for length in [*cuts, len(stream)]:
        found += reader.feed(stream[start : start + length])
        start += length

    assert [(one.topic, one.payload) for one in found if isinstance(one, Message)] == messages


@given(st.lists(st.binary(max_size=120), max_size=10), levels)
def test_any_bytes_are_packets_or_refused(chunks: list[bytes], level: int) -> None:
    reader, found = PacketReader(level), []
    try:
        for chunk in chunks:
            found += reader.feed(chunk)
    except WireError:
        found.append(Packet(0, b""))

    assert all(isinstance(one, Message | Packet) for one in found)


@given(payloads, st.data())
def test_a_damaged_packet_never_raises_anything_else(payload: bytes, data: st.DataObject) -> None:
    packet = bytearray(encode_publish("fl/1/00/dev-a/up/tx", payload, packet_id=7))
    packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = PacketReader().feed(bytes(packet))
    except WireError:
        return
    assert all(isinstance(one, Message | Packet) for one in found)


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"\x34\x05\x00\x01a\x00\x01", "QoS 2"),
        (b"\x32\x05\x00\x01a\x00\x00", "without a packet id"),
        (b"\x30\x01\x00", "without a topic"),
        (b"\x30\x03\x00\x09a", "ends within its header"),
        (b"\x30\x04\x00\x02\xff\xff", "not UTF-8"),
        (b"\x30\x03\x00\x01#", "characters"),
        (b"\x30\x02\x00\x00", "characters"),
        (b"\x10\x00", "begins with 0x10"),
        (b"\x21\x02\x00\x00", "begins with 0x21"),
        (b"\x40\x01\x00", "ends early"),
        (b"\x30\xff\xff\xff\xff\x01", "more than four bytes"),
        (b"\x30\xff\xff\xff\x7f", "a packet of"),
    ],
)
def test_what_a_broker_may_not_send_ends_the_connection(packet: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        PacketReader().feed(packet)


def test_a_packet_that_is_too_large_is_refused_before_it_is_collected() -> None:
    with pytest.raises(WireError, match="a packet of"):
        PacketReader().feed(b"\x30" + encode_length(LARGEST_PACKET + 1))


def test_properties_of_version_5_are_skipped() -> None:
    packet = b"\x32\x0d\x00\x01a\x00\x07\x05\x02\x00\x00\x00\x1ehi!"[:-1]

    assert PacketReader(5).feed(packet) == [Message("a", b"hi", 7, False, False)]


def test_properties_that_go_beyond_their_packet_are_refused() -> None:
    with pytest.raises(WireError, match="beyond"):
        PacketReader(5).feed(b"\x30\x06\x00\x01a\x7f\x00\x00")


@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
    ],
)
def test_lengths_are_written_as_the_standard_says(length: int, encoded: bytes) -> None:
    assert encode_length(length) == encoded


def test_a_connect_says_what_it_should() -> None:
    plain = encode_connect(
        "svc-a", level=4, clean=False, keepalive_s=30, receive_maximum=1, will=None
    )
    with_will = encode_connect(
        "a", level=5, clean=True, keepalive_s=0, receive_maximum=20, will=Will("t", b"w")
    )

    assert plain == b"\x10\x11\x00\x04MQTT\x04\x00\x00\x1e\x00\x05svc-a"
    assert with_will == (
        b"\x10\x1d\x00\x04MQTT\x05\x2e\x00\x00\x08\x11\x00\x01\x51\x80\x21\x00\x14"
        b"\x00\x01a\x00\x00\x01t\x00\x01w"
    )
