"""Frames are cut by their structure, whatever their check byte is and however they are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.ecr17.frames import (
    LONGEST_PAYLOAD,
    Application,
    Frame,
    FrameStream,
    LrcMode,
    ProgressText,
    Signal,
    encode_frame,
    encode_progress,
    encode_signal,
    lrc,
)

PAYLOADS = st.binary(max_size=60).map(lambda raw: bytes(byte & 0x7F or 0x41 for byte in raw))


@pytest.mark.parametrize(
    ("mode", "of_a", "of_nothing", "ack"),
    [
        ("std", 0x3E, 0x7F, "060379"),
        ("stx", 0x3F, 0x7E, "060378"),
        ("noext", 0x3D, 0x7C, "06037a"),
        ("stx_noext", 0x3C, 0x7D, "06037b"),
    ],
)
def test_check_bytes_of_the_sheet(mode: str, of_a: int, of_nothing: int, ack: str) -> None:
    assert lrc(b"A", LrcMode(mode)) == of_a
    assert lrc(b"", LrcMode(mode)) == of_nothing
    assert encode_signal(LrcMode(mode), is_ack=True).hex() == ack


def test_the_worked_frame_of_the_sheet() -> None:
    assert encode_frame(b"AB", LrcMode.STD) == b"\x02AB\x03\x7c"


@pytest.mark.parametrize("wanted", [0x02, 0x03, 0x06, 0x15, 0x01, 0x04])
@pytest.mark.parametrize("mode", LrcMode)
def test_a_check_byte_that_looks_like_a_control_byte_ends_its_frame(
    mode: LrcMode, wanted: int
) -> None:
    payload = b"x" + bytes((wanted ^ lrc(b"x", mode),))
    if b"\x03" in payload or b"\x02" in payload:
        payload = b"xA" + bytes((wanted ^ lrc(b"xA", mode),))
    frame = encode_frame(payload, mode)

    frames = FrameStream(mode).feed(frame + encode_signal(mode, is_ack=True))

    assert frame[-1] == wanted
    assert frames == [Application(payload), Signal(True)]


def test_progress_glued_to_a_result_is_cut_off() -> None:
    stream = FrameStream(LrcMode.STD)

    frames = stream.feed(encode_progress("ATTENDERE") + encode_frame(b"E", LrcMode.STD))

    assert frames == [ProgressText("ATTENDERE"), Application(b"E")]


def test_a_frame_that_was_cut_off_does_not_hide_the_next() -> None:
    stream = FrameStream(LrcMode.STD)

    frames = stream.feed(encode_frame(b"123456780s", LrcMode.STD)[:6])
    frames += stream.feed(encode_frame(b"123456780T", LrcMode.STD))

    assert frames == [Application(b"123456780T")]
    assert stream.skipped == 6


@pytest.mark.parametrize(
    "noise", [b"\x00\xff", b"\x06\x41", b"\x01\x02", b"\x01" + b"a" * 5 + b"\x06", b"\x15\x15"]
)
def test_noise_before_a_frame_is_dropped(noise: bytes) -> None:
    stream = FrameStream(LrcMode.NOEXT)

    frames = stream.feed(noise + encode_frame(b"123456780s", LrcMode.NOEXT))

    assert frames[-1] == Application(b"123456780s")
    assert stream.skipped > 0


def test_a_wrong_check_byte_is_told() -> None:
    stream = FrameStream(LrcMode.STD)

    frames = stream.feed(b"\x02AB\x03\x00" + b"\x06\x03\x00")

    assert frames == [Application(b"AB", is_sound=False), Signal(True, is_sound=False)]


def test_an_endless_frame_is_given_up() -> None:
    stream = FrameStream(LrcMode.STD)

    stream.feed(b"\x02" + b"a" * (LONGEST_PAYLOAD + 10))
    frames = stream.feed(encode_frame(b"A", LrcMode.STD))

    assert frames == [Application(b"A")]


@pytest.mark.parametrize("payload", [b"a\x03b", b"\x80", b"a" * (LONGEST_PAYLOAD + 1)])
def test_what_could_not_be_cut_out_again_is_not_framed(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        encode_frame(payload, LrcMode.STD)


@given(
    st.lists(
        st.one_of(
            PAYLOADS.filter(lambda one: not {2, 3} & set(one)).map(Application),
            st.booleans().map(Signal),
            st.text("ABC ", min_size=1, max_size=20).map(lambda one: ProgressText(one.strip())),
        ),
        max_size=6,
    ),
    st.integers(1, 40),
    st.sampled_from(LrcMode),
)
def test_frames_come_out_as_they_went_in_however_split(
    frames: list[Frame], piece: int, mode: LrcMode
) -> None:
    sent = b"".join(_encoded(frame, mode) for frame in frames)
    stream = FrameStream(mode)

    seen = [
        frame for at in range(0, len(sent), piece) for frame in stream.feed(sent[at : at + piece])
    ]

    assert seen == frames
    assert stream.skipped == 0
    assert not stream.is_inside


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from(LrcMode))
def test_any_bytes_at_all_are_taken(pieces: list[bytes], mode: LrcMode) -> None:
    stream = FrameStream(mode)

    total = sum(len(stream.feed(piece)) for piece in pieces)

    assert total <= sum(map(len, pieces))


def _encoded(frame: Frame, mode: LrcMode) -> bytes:
    match frame:
        case Application(payload):
            return encode_frame(payload, mode)
        case Signal(is_ack):
            return encode_signal(mode, is_ack=is_ack)
    return encode_progress(frame.text)
