"""Messages over reports, packets and frames: nothing is lost, nothing is invented, nothing raises."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible
from protocols.readers.magtek_mms.links import (
    FRAMINGS,
    Arrived,
    BleLink,
    HidLink,
    Link,
    LinkEvent,
    Oddity,
    SlipLink,
    escaped,
    frame,
    make_link,
    next_pdu,
    unescaped,
)
from protocols.readers.magtek_mms.message import Outgoing

LENGTHS = [1, 61, 62, 63, 59, 120, 121, 122, 236, 237, 238, 479, 480, 4000, 62_000]


def packets_of(link: Link, message: bytes) -> list[bytes]:
    link.send(Outgoing(message))
    packets = []
    while packet := link.outgoing():
        packets.append(packet)
    return packets


def received(link: Link, packets: Sequence[bytes]) -> list[bytes]:
    events = [event for packet in packets for event in link.feed(packet)]
    assert [event for event in events if isinstance(event, Oddity)] == []
    return [event.message for event in events if isinstance(event, Arrived)]


def oddities(events: Sequence[LinkEvent]) -> list[str]:
    return [event.name for event in events if isinstance(event, Oddity)]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_message_of_any_length_arrives(framing: str, length: int) -> None:
    message = bytes(at % 251 for at in range(length))

    packets = packets_of(make_link(framing), message)

    assert received(make_link(framing), packets) == [message]


def test_reports_have_one_length_and_the_numbers_of_the_sheet() -> None:
    packets = packets_of(HidLink(), bytes(59 + 61 * 2 + 62))

    assert {len(packet) for packet in packets} == {64}
    assert [packet[0] for packet in packets] == [1, 2, 2, 3]
    assert packets[0][1:5] == (59 + 61 * 2 + 62).to_bytes(4, "big")
    assert [packet[1:3] for packet in packets[1:3]] == [b"\x00\x01", b"\x00\x02"]
    assert packets[3][1] == 62


def test_a_file_that_reports_cannot_number_is_refused_before_anything_is_sent() -> None:
    link = HidLink()

    with pytest.raises(CommandNotPossible):
        link.send(Outgoing(b"", 4_000_000, lambda offset, length: bytes(length)))

    assert link.outgoing() == b""


def test_a_cancel_drops_what_was_collected() -> None:
    link = HidLink()
    head, *_ = packets_of(HidLink(), bytes(200))

    events = [*link.feed(head), *link.feed(b"\x04".ljust(64, b"\x00"))]

    assert oddities(events) == ["message_cancelled"]
    assert received(link, packets_of(HidLink(), b"hello")) == [b"hello"]


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_lost_report_loses_its_message_and_no_other(lost: int) -> None:
    packets = packets_of(HidLink(), bytes(59 + 61 * 2 + 5))
    link = HidLink()
    del packets[lost]

    events = [event for packet in packets for event in link.feed(packet)]
    after = list(link.feed(packets_of(HidLink(), b"next")[0]))

    assert [event for event in events if isinstance(event, Arrived)] == []
    assert oddities([*events, *after]) != []
    assert Arrived(b"next") in after


def test_the_worked_examples_of_the_sheet() -> None:
    cancel = bytes.fromhex("aa0081040113100884021008")

    assert packets_of(HidLink(), cancel)[0].hex().startswith("000caa0081040113100884021008" + "00")
    assert packets_of(BleLink(), cancel) == [bytes.fromhex("0000000000000c") + cancel]
    assert frame(bytes.fromhex("aa00810401c0dbc0")).hex() == (
        "c00000000008aa00810401dbdcdbdddbdcc0"
    )


def test_packet_counters_go_on_as_they_should() -> None:
    link = BleLink()

    long = packets_of(link, bytes(237 + 242 * 300))
    more = [packets_of(link, b"x")[0][0] for _ in range(256)]

    assert [packet[1] for packet in long[:3]] == [0, 1, 2]
    assert [packet[1] for packet in long[254:258]] == [0xFE, 0xFF, 0x01, 0x02]
    assert {packet[0] for packet in long} == {0}
    assert max(len(packet) for packet in long) == 244
    assert more[:2] == [1, 2]
    assert more[-2:] == [0xFF, 0x00]
    assert [next_pdu(at) for at in (0, 1, 0xFE, 0xFF)] == [1, 2, 0xFF, 1]


def test_counters_that_wrap_are_followed() -> None:
    sender, receiver = BleLink(), BleLink()
    messages = [bytes((at & 0xFF,)) * 300 for at in range(600)]

    arrived = [
        one for message in messages for one in received(receiver, packets_of(sender, message))
    ]

    assert arrived == messages


@pytest.mark.parametrize("pdu_max", [23, 244, 512])
def test_glued_packets_are_taken_apart(pdu_max: int) -> None:
    sender, receiver = BleLink(pdu_max=pdu_max), BleLink(pdu_max=pdu_max)
    messages = [b"first" * 90, b"second", b"third" * 60]
    glued = b"".join(packet for one in messages for packet in packets_of(sender, one))

    assert received(receiver, [glued]) == messages


def test_a_larger_packet_than_agreed_is_one_packet() -> None:
    sender, receiver = BleLink(pdu_max=512), BleLink(pdu_max=244)
    message = bytes(at % 256 for at in range(1400))

    assert received(receiver, packets_of(sender, message)) == [message]


def test_a_lost_packet_loses_its_message_and_a_jump_is_told() -> None:
    sender, receiver = BleLink(), BleLink()
    packets = packets_of(sender, bytes(800))
    del packets[1]

    events = [event for packet in packets for event in receiver.feed(packet)]
    packets_of(sender, b"never seen")
    after = [event for one in packets_of(sender, b"next") for event in receiver.feed(one)]

    assert oddities(events)[0] == "packet_lost"
    assert oddities(after) == ["message_counter_jumped"]
    assert Arrived(b"next") in after


def test_noise_on_a_serial_line_costs_its_own_frame_only() -> None:
    link = SlipLink()

    events = list(
        link.feed(b"\xff\x00\xdb\x01\xc0" + frame(b"hello") + b"\xdb\xc0" + frame(b"you"))
    )

    assert [event.message for event in events if isinstance(event, Arrived)] == [b"hello", b"you"]
    assert oddities(events) == ["frame_malformed", "frame_malformed"]


def test_a_frame_with_a_wrong_length_is_dropped() -> None:
    wrong = b"\xc0" + b"\x00" + (9).to_bytes(4, "big") + b"eight by" + b"\xc0"

    assert oddities(SlipLink().feed(wrong)) == ["frame_malformed"]


def test_a_stream_without_end_is_not_kept() -> None:
    link = SlipLink(longest=1000)

    for _ in range(100):
        assert link.feed(bytes(1000)) == []
    events = link.feed(b"\xc0" + frame(b"hello"))

    assert oddities(events) == ["frame_too_long"]
    assert Arrived(b"hello") in events


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_message_longer_than_believed_is_dropped(framing: str) -> None:
    packets = packets_of(make_link(framing), bytes(5000))
    link = make_link(framing, longest=4999)

    events = [event for packet in packets for event in link.feed(packet)]

    assert [event for event in events if isinstance(event, Arrived)] == []
    assert oddities(events) != []


@pytest.mark.parametrize(
    ("framing", "sizes"),
    [("usb_hid", {"report_len": 4}), ("ble_gatt", {"pdu_max": 5}), ("pigeon", {})],
)
def test_a_line_that_cannot_work_is_refused(framing: str, sizes: dict[str, int]) -> None:
    with pytest.raises(CommandNotPossible):
        make_link(framing, **sizes)


@given(st.binary(max_size=300))
def test_escaping_is_undone(plain: bytes) -> None:
    assert unescaped(escaped(plain)) == plain
    assert b"\xc0" not in escaped(plain)


@pytest.mark.parametrize("framing", FRAMINGS)
@settings(max_examples=60, deadline=None)
@given(noise=st.lists(st.binary(max_size=70), max_size=20))
def test_any_packets_never_raise_and_a_message_gets_through_afterwards(
    framing: str, noise: list[bytes]
) -> None:
    link = make_link(framing)
    for packet in noise:
        link.feed(packet)
    if framing == "serial":
        link.feed(b"\xc0")

    sent = packets_of(make_link(framing), b"hello" * 30)
    arrived = [event for one in sent for event in link.feed(one)]

    assert Arrived(b"hello" * 30) in arrived


@settings(max_examples=60, deadline=None)
@given(
    stream=st.lists(
        st.one_of(st.binary(max_size=20), st.binary(min_size=1, max_size=60).map(frame)), max_size=8
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_how_a_stream_is_cut_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    whole = list(SlipLink().feed(stream))
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    link = SlipLink()

    pieces = [
        event
        for start, stop in itertools.pairwise(edges)
        for event in link.feed(stream[start:stop])
    ]

    assert pieces == whole
