"""The serial line: frames of the sheet byte for byte, acknowledgements, timers, repeats and duplicates."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.framing import crc16_kermit
from protocols.readers.zvt.apdu import Apdu
from protocols.readers.zvt.link import Arrived, Delivered, LinkEvent, NotDelivered, Oddity
from protocols.readers.zvt.serial_link import FrameReader, SerialLink, decode_frame, encode_frame

ACK = b"\x06"
NAK = b"\x15"
POSITIVE = bytes.fromhex("800000")
STATUS = bytes.fromhex("04ff010a")
OTHER = bytes.fromhex("04ff0117")
SHEET = [
    ("060006123456ba0978", "10 02 06 00 06 12 34 56 BA 09 78 10 03 24 C3"),
    ("067000", "10 02 06 70 00 10 03 D9 F9"),
    ("800000", "10 02 80 00 00 10 03 F5 1F"),
    ("849c00", "10 02 84 9C 00 10 03 C3 41"),
]


@pytest.fixture
def link() -> SerialLink:
    return SerialLink()


def _messages(events: list[LinkEvent]) -> list[bytes]:
    return [event.apdu.encode() for event in events if isinstance(event, Arrived) and event.apdu]


# --- frames ---


@pytest.mark.parametrize(("apdu", "frame"), SHEET)
def test_the_sheets_frames(apdu: str, frame: str) -> None:
    assert encode_frame(bytes.fromhex(apdu)) == bytes.fromhex(frame)
    assert decode_frame(bytes.fromhex(frame)) == bytes.fromhex(apdu)


@given(st.binary(max_size=400))
def test_frames_survive_the_line(apdu: bytes) -> None:
    assert decode_frame(encode_frame(apdu)) == apdu


def test_each_dle_of_the_message_is_doubled_and_those_of_the_crc_are_not() -> None:
    # Found by search: the CRC of this message is 1010.
    apdu = next(
        candidate
        for number in range(1 << 16)
        if crc16_kermit((candidate := b"\x10\x10" + number.to_bytes(2, "big")) + b"\x03") == 0x1010
    )

    frame = encode_frame(apdu)

    assert frame.startswith(bytes.fromhex("1002 1010 1010"))
    assert frame.endswith(bytes.fromhex("1003 1010"))
    assert decode_frame(frame) == apdu


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "06",
        "10028000001003f51e",
        "10028000001003f5",
        "1002800000",
        "8000001003f51f",
        "10028000001003f51f00",
        "00 10028000001003f51f",
        "1002 80 1005 0000 1003f51f",
        "10028000001003f51f10028000001003f51f",
    ],
)
def test_a_broken_frame_is_refused(frame: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_frame(bytes.fromhex(frame))


def test_a_frame_without_end_is_bounded() -> None:
    reader = FrameReader()
    for byte in b"\x10\x02":
        reader.take(byte)

    began = time.process_time()
    results = {reader.take(0x41) for _ in range(200_000)}

    assert results == {None}
    assert time.process_time() - began < 5
    assert len(reader._apdu) <= 65540  # noqa: SLF001 - the bound is what is tested


@given(st.binary(max_size=300))
def test_random_bytes_never_hurt_a_link(noise: bytes) -> None:
    link = SerialLink()

    link.send(POSITIVE, 0.0)
    link.feed(noise, 1.0)
    link.expired(2.0)

    assert len(link.outgoing()) < 3 * (len(noise) + len(encode_frame(POSITIVE)))


@given(st.binary(max_size=40), st.integers(1, 5))
def test_noise_before_a_frame_does_not_hide_it(noise: bytes, piece: int) -> None:
    link = SerialLink()
    line = noise.replace(b"\x10", b"\x11") + encode_frame(STATUS)

    events: list[LinkEvent] = []
    for at in range(0, len(line), piece):
        events += link.feed(line[at : at + piece], 1.0)

    assert _messages(events) == [STATUS]
    assert link.outgoing() == ACK


# --- receiving ---


def test_a_good_frame_is_acknowledged_at_once(link: SerialLink) -> None:
    events = link.feed(encode_frame(STATUS), 0.0)

    assert events == [Arrived(Apdu(0x04FF, b"\x0a"))]
    assert link.outgoing() == ACK


def test_a_frame_with_a_wrong_crc_is_refused_and_taken_when_it_comes_again(
    link: SerialLink,
) -> None:
    broken = encode_frame(STATUS)[:-1] + b"\x00"

    events = link.feed(broken, 0.0)
    refused = link.outgoing()
    again = link.feed(encode_frame(STATUS), 0.1)

    assert events == [Oddity("frame_broken")]
    assert refused == NAK
    assert _messages(list(again)) == [STATUS]


def test_a_frame_that_stops_coming_is_refused_after_t1(link: SerialLink) -> None:
    link.feed(encode_frame(STATUS)[:5], 10.0)

    early = link.expired(10.1)
    deadline = link.deadline()
    late = link.expired(10.2)

    assert early == []
    assert deadline == pytest.approx(10.2)
    assert late == [Oddity("frame_cut_off")]
    assert link.outgoing() == NAK
    assert link.deadline() is None


def test_a_slow_frame_is_taken_as_long_as_bytes_keep_coming(link: SerialLink) -> None:
    events: list[LinkEvent] = []
    for at, byte in enumerate(encode_frame(STATUS)):
        events += link.feed(bytes((byte,)), at * 0.15)

    assert _messages(events) == [STATUS]


def test_a_frame_begun_anew_replaces_its_lost_beginning(link: SerialLink) -> None:
    events = link.feed(encode_frame(STATUS)[:4] + encode_frame(OTHER), 0.0)

    assert _messages(list(events)) == [OTHER]


def test_a_frame_repeated_because_our_ack_was_lost_is_acknowledged_and_dropped(
    link: SerialLink,
) -> None:
    link.feed(encode_frame(STATUS), 0.0)
    again = link.feed(encode_frame(STATUS), 5.0)

    assert again == [Oddity("duplicate_frame")]
    assert link.outgoing() == ACK + ACK


def test_the_same_message_after_our_answer_is_a_new_one(link: SerialLink) -> None:
    link.feed(encode_frame(STATUS), 0.0)
    link.send(POSITIVE, 0.0)
    link.outgoing()
    link.feed(ACK, 0.01)

    again = link.feed(encode_frame(STATUS), 0.02)

    assert _messages(list(again)) == [STATUS]


def test_a_frame_sent_twice_in_a_breath_is_dropped_even_while_our_answer_is_under_way(
    link: SerialLink,
) -> None:
    link.feed(encode_frame(STATUS), 0.0)
    link.send(POSITIVE, 0.0)

    again = link.feed(encode_frame(STATUS), 0.01)

    assert again == [Oddity("duplicate_frame")]


def test_no_more_repeats_are_dropped_than_a_sender_may_send(link: SerialLink) -> None:
    arrived = [len(_messages(list(link.feed(encode_frame(STATUS), at * 5.0)))) for at in range(4)]

    assert arrived == [1, 0, 0, 1]


def test_a_sound_frame_without_a_message_in_it_is_told(link: SerialLink) -> None:
    events = link.feed(encode_frame(b"\x04\xff\x05\x00"), 0.0)

    assert events == [Arrived(None)]
    assert link.outgoing() == ACK


# --- sending ---


def test_one_frame_at_a_time_is_under_way(link: SerialLink) -> None:
    link.send(POSITIVE, 0.0)
    link.send(STATUS, 0.0)

    first = link.outgoing()
    events = link.feed(ACK, 0.1)
    second = link.outgoing()

    assert first == encode_frame(POSITIVE)
    assert events == [Delivered(POSITIVE)]
    assert second == encode_frame(STATUS)


@pytest.mark.parametrize("refusal", [True, False], ids=["after NAK", "after T2"])
def test_a_frame_is_sent_three_times_in_all_and_then_given_up(
    link: SerialLink, refusal: bool
) -> None:
    link.send(POSITIVE, 0.0)
    link.send(STATUS, 0.0)
    sent: list[bytes] = []
    events: list[LinkEvent] = []
    for at in range(1, 6):
        sent.append(link.outgoing())
        events += link.feed(NAK, at * 5.0) if refusal else link.expired(at * 5.0)

    reason = "not accepted" if refusal else "no acknowledgement"
    assert sent == [encode_frame(POSITIVE)] * 3 + [b""] * 2
    assert [event for event in events if not isinstance(event, Oddity)] == [
        NotDelivered(POSITIVE, reason, left=True),
        NotDelivered(STATUS, reason, left=False),
    ]
    assert link.deadline() is None


def test_an_answer_without_ack_before_it_counts_as_one(link: SerialLink) -> None:
    link.send(STATUS, 0.0)
    link.outgoing()

    events = link.feed(encode_frame(POSITIVE), 0.1)

    assert events == [
        Oddity("acknowledgement_missing"),
        Delivered(STATUS),
        Arrived(Apdu(0x8000)),
    ]
    assert link.deadline() is None


def test_two_acknowledgements_never_count_for_two_frames(link: SerialLink) -> None:
    link.send(POSITIVE, 0.0)
    link.send(STATUS, 0.0)
    link.outgoing()

    events = link.feed(ACK + ACK, 0.1)

    assert events == [Delivered(POSITIVE), Oddity("stray_acknowledgement")]
    assert link.outgoing() == encode_frame(STATUS)
    assert link.deadline() is not None


def test_acknowledgements_within_noise_are_noise(link: SerialLink) -> None:
    link.send(POSITIVE, 0.0)
    link.outgoing()

    noisy = link.feed(b"\xff" + NAK + ACK, 0.1)
    later = link.feed(ACK, 1.0)

    assert noisy == [Oddity("noise_between_frames")]
    assert link.outgoing() == b""
    assert later == [Delivered(POSITIVE)]


def test_a_stray_acknowledgement_changes_nothing(link: SerialLink) -> None:
    assert link.feed(ACK, 0.0) == [Oddity("stray_acknowledgement")]
    assert link.outgoing() == b""


def test_whether_a_message_has_left_can_be_told(link: SerialLink) -> None:
    link.send(POSITIVE, 0.0)
    before = link.has_unsent()
    link.outgoing()
    after = link.has_unsent()
    link.send(STATUS, 0.0)
    waiting = link.has_unsent()

    assert (before, after, waiting) == (True, False, True)


def test_a_reset_forgets_everything(link: SerialLink) -> None:
    link.send(POSITIVE, 0.0)
    link.feed(encode_frame(STATUS)[:4], 0.0)

    link.reset()

    assert link.deadline() is None
    assert link.outgoing() == b""
    assert not link.has_unsent()
    assert _messages(list(link.feed(encode_frame(STATUS), 1.0))) == [STATUS]
