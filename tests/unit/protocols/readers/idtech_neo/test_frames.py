"""Frames and reports: known bytes, any bytes, any cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers.idtech_neo import frames
from protocols.readers.idtech_neo.decode import describe
from protocols.readers.idtech_neo.frames import Frame, Line, Oddity

HEADER = "5669564f7465636832 00".replace(" ", "")
# What public copies of the maker's guide and open code show.
COMMANDS = {
    "180100 00 b3cd": Frame(0x18, 0x01),
    "290000 00 dea0": Frame(0x29, 0x00),
    "030200 00 5b91": Frame(0x03, 0x02),
    "611700 00 728d": Frame(0x61, 0x17),
    "024000 0a 0a9f0206000000000100 5a43": Frame(0x02, 0x40, bytes.fromhex("0a9f0206000000000100")),
    "f0fc00 09 447261667473657276 e272": Frame(0xF0, 0xFC, b"Draftserv"),
    "024000 12 1e9f02060000000012349c01005f2a020978 59a5": Frame(
        0x02, 0x40, bytes.fromhex("1e9f02060000000012349c01005f2a020978")
    ),
}
ANSWERS = {
    "180000 00 fa83": Frame(0x18, 0x00, is_high_first=True),
    "610000 00 4b81": Frame(0x61, 0x00, is_high_first=True),
}
FRAMES = st.builds(
    Frame,
    st.integers(0, 255),
    st.integers(0, 255),
    st.one_of(st.binary(max_size=80), st.binary(min_size=100, max_size=400)),
    st.booleans(),
)


@pytest.mark.parametrize(("written", "frame"), [*COMMANDS.items(), *ANSWERS.items()])
def test_known_bytes_are_read_and_written(written: str, frame: Frame) -> None:
    encoded = bytes.fromhex(HEADER + written.replace(" ", ""))

    assert frames.decode(encoded) == frame
    assert frames.encode(frame) == encoded


def test_a_short_frame_is_one_report_filled_with_zeros() -> None:
    (report,) = frames.to_reports(frames.encode(Frame(0x29, 0x00)))

    assert report == bytes.fromhex("01" + HEADER + "29000000dea0").ljust(64, b"\0")


@pytest.mark.parametrize(
    ("size", "numbers"), [(47, [1]), (48, [2, 4]), (110, [2, 4]), (111, [2, 3, 4])]
)
def test_a_longer_frame_is_cut_into_first_middle_and_last(size: int, numbers: list[int]) -> None:
    reports = list(frames.to_reports(frames.encode(Frame(1, 2, b"\x05" * size))))

    assert [report[0] for report in reports] == numbers
    assert {len(report) for report in reports} == {64}


def test_data_that_end_in_zeros_keep_them_through_reports() -> None:
    frame = Frame(0x02, 0x23, b"\x01" * 60 + b"\x00" * 5, is_high_first=True)
    line = Line("usb_hid")

    found = [one for report in frames.to_reports(frames.encode(frame)) for one in line.feed(report)]

    assert found == [frame]


def test_a_report_that_continues_nothing_is_ignored() -> None:
    line = Line("usb_hid")
    _, middle, last = frames.to_reports(frames.encode(Frame(1, 2, b"\x05" * 120)))

    assert [*line.feed(middle), *line.feed(last), *line.feed(b"\x09" * 64), *line.feed(b"")] == []


def test_a_first_report_forgets_what_was_not_finished() -> None:
    line = Line("usb_hid")
    first, *_ = frames.to_reports(frames.encode(Frame(1, 2, b"\x05" * 120)))
    line.feed(first)
    whole = Frame(0x18, 0x00, is_high_first=True)

    assert line.feed(*frames.to_reports(frames.encode(whole))) == (whole,)


@given(FRAMES)
@settings(max_examples=60)
def test_what_is_written_is_read_on_every_framing(frame: Frame) -> None:
    for framing in frames.FRAMINGS:
        out, back = Line(framing), Line(framing)
        out.send(frame)
        found = list[Frame | Oddity]()
        while packet := out.outgoing():
            found += back.feed(packet)
        (read,) = found
        assert isinstance(read, Frame)
        assert (read.command, read.sub, read.data) == (frame.command, frame.sub, frame.data)


@given(
    st.lists(
        st.one_of(
            FRAMES.map(frames.encode),
            st.binary(max_size=30),
            FRAMES.map(lambda frame: frames.encode(frame)[:-1] + b"\x00"),
            FRAMES.map(lambda frame: frames.encode(frame)[:-3]),
        ),
        max_size=5,
    ),
    st.lists(st.integers(1, 40), max_size=30),
)
@settings(max_examples=80)
def test_how_a_stream_is_cut_changes_nothing(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    whole = list(Line("serial").feed(stream))
    line, found, at = Line("serial"), list[Frame | Oddity](), 0
    for size in [*cuts, len(stream)]:
        found += line.feed(stream[at : at + size])
        at += size

    assert found == whole


@given(st.sampled_from(frames.FRAMINGS), st.lists(st.binary(max_size=70), max_size=8))
@settings(max_examples=60)
def test_no_bytes_make_a_line_raise(framing: str, packets: list[bytes]) -> None:
    line = Line(framing)
    for packet in packets:
        line.feed(packet)


def test_a_good_frame_is_found_behind_noise_and_behind_a_bad_one() -> None:
    good = Frame(0x18, 0x00, is_high_first=True)
    encoded = frames.encode(good)
    line = Line("serial")

    assert line.feed(b"\xff\x00ViVO" + encoded) == [Oddity("noise"), good]
    assert line.feed(encoded[:-1] + b"\x00" + encoded) == [Oddity("bad_check_code"), good]
    assert line.feed(encoded[:12] + b"\xff\xff" + encoded) == [Oddity("bad_length"), good]


@pytest.mark.parametrize("encoded", ["", HEADER, HEADER + "18000000fa84", HEADER + "18000001fa83"])
def test_what_is_no_frame_is_refused(encoded: str) -> None:
    with pytest.raises(MalformedMessage):
        frames.decode(bytes.fromhex(encoded))


def test_more_than_a_reader_takes_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        frames.encode(Frame(1, 1, bytes(1485)))


def test_a_framing_that_there_is_not_is_refused() -> None:
    with pytest.raises(CommandNotPossible):
        Line("carrier_pigeon")


# --- for people ---


def test_a_command_is_described_with_its_name_and_objects() -> None:
    described = describe(
        bytes.fromhex(HEADER + "024000121e9f02060000000012349c01005f2a02097859a5"), framing="serial"
    )

    assert described["command"] == "02"
    assert described["sub_command"] == "40"
    assert described["name"] == "activate"
    assert described["crc_order"] == "le"
    assert described["data"] == "1e9f02060000000012349c01005f2a020978"
    assert [branch["tag"] for branch in described["tlv"]] == ["9f02", "9c", "5f2a"]


def test_an_answer_is_described_with_what_its_status_means() -> None:
    described = describe(bytes.fromhex(HEADER + "18000000fa83"), framing="frame")

    assert (described["status"], described["meaning"], described["data"]) == ("00", "done", "")
    assert described["crc_order"] == "be"


def test_reports_are_described_as_the_frame_they_carry() -> None:
    frame = Frame(0x29, 0x00, b"VP3300 FW v1.00.S" + b" and a long text" * 4, is_high_first=True)
    reports = b"".join(frames.to_reports(frames.encode(frame)))

    assert describe(reports, framing="usb_hid")["text"].startswith("VP3300 FW v1.00.S")


@given(FRAMES)
@settings(max_examples=60)
def test_any_frame_can_be_described(frame: Frame) -> None:
    assert describe(frames.encode(frame), framing="serial")["data_length"] == len(frame.data)
