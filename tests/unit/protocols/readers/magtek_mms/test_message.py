"""The message layer, against what MagTek's own code makes of the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.magtek_mms import codes
from protocols.readers.magtek_mms.links import Arrived, make_link
from protocols.readers.magtek_mms.message import (
    Message,
    Outgoing,
    commit_firmware,
    decode_message,
    load_firmware,
    request,
    response,
)

#: What MagTek's open JavaScript (MIT) does with these bytes, run under node.
VECTORS = [
    json.loads(line) for line in (Path(__file__).parent / "vectors.jsonl").read_text().splitlines()
]
LINKS = {"hid_out_reports": "usb_hid", "uart_slip": "serial", "ble_pdus": "ble_gatt"}


def packets(vector: dict[str, Any]) -> list[str]:
    expected = vector["expect"]
    return expected.get("reports") or expected.get("pdus") or [expected["bytes"]]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["hex"][8:28])
def test_a_message_is_read_and_written_as_magteks_code_does(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["hex"])
    header = vector["expect"]["header"]

    message = decode_message(encoded)

    assert f"{message.kind:02x}" == header["type"]
    assert f"{message.reference:02x}" == header["ref"]
    assert f"{message.number:04x}" == header["id"]
    assert message.encode() == encoded


@pytest.mark.parametrize(
    "vector", [one for one in VECTORS if one["kind"] in LINKS], ids=lambda one: one["hex"][8:28]
)
def test_a_message_is_cut_into_packets_as_magteks_code_does(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["hex"])
    link = make_link(LINKS[vector["kind"]])
    expected = packets(vector)
    # The vector's message was not the first of its connection.
    before = int(expected[0][:2], 16) if vector["kind"] == "ble_pdus" else 0
    for _ in range(before):
        link.send(Outgoing(encoded))
        link.outgoing()

    link.send(Outgoing(encoded))
    sent = [link.outgoing().hex() for _ in expected]

    assert sent == expected
    assert link.outgoing() == b""
    arrived = [event for one in expected for event in link.feed(bytes.fromhex(one))]
    assert [event.message for event in arrived if isinstance(event, Arrived)] == [encoded]


def test_a_response_tells_its_status_and_detail() -> None:
    refused, warned = (decode_message(bytes.fromhex(one["hex"])) for one in reversed(VECTORS[-2:]))

    assert (refused.first, refused.detail, refused.is_success) == (0x81, codes.IN_PROGRESS, False)
    assert codes.status_text(refused.first, refused.detail) == "failed: a transaction runs"
    assert (warned.first, warned.detail, warned.is_success) == (0x41, 0, True)
    assert codes.status_text(0x7F, 0x123456) == "status 7F: detail 123456"


def test_every_detail_of_magteks_list_has_a_text() -> None:
    assert len(codes.DETAILS) >= 82
    assert all(codes.DETAILS.values())


def test_lengths_may_be_longer_than_they_need_to_be() -> None:
    # From the manual: a response whose payload has 82 00 10 for sixteen bytes.
    encoded = bytes.fromhex("aa0081048255d10182040000000084820010d1018501018704010101018903c50100")

    message = decode_message(encoded)

    assert message.number == codes.GET_PROPERTY
    assert message.parameters.hex() == "8501018704010101018903c50100"


def test_cancel_and_its_answer_are_those_of_the_manual() -> None:
    cancel = request(codes.CANCEL, 0x13)

    assert cancel.encode().hex() == "aa0081040113100884021008"
    assert response(cancel).encode().hex() == "aa00810482131008820400000000"


def test_a_firmware_file_is_announced_as_in_the_manual() -> None:
    sha256 = bytes.fromhex("DFC71E09A3CE8E86B0F5B675BEB77A0E8233BFF18ACD8F3834B0DB20D9404B28")
    size = 0x0C7628

    message = load_firmware(1, 1, sha256, size, lambda offset, length: b"\xab" * length)

    assert message.head.hex() == (
        "aa0081040101d80184830c7658d8018101038502000186" + "20" + sha256.hex() + "87830c7628"
    )
    assert message.size == len(message.head) + size
    assert commit_firmware(2, 1, sha256).encode().hex() == (
        "aa0081040102d901842ed901810103820100850200018620" + sha256.hex()
    )


def test_a_body_is_read_only_where_it_is_sent_and_its_gaps_are_zeros() -> None:
    asked: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return b"abcdef"[offset : offset + length][:2]

    message = Outgoing(b"HEAD", 6, read)

    assert message.part(2, 4) == b"ADab"
    assert message.part(8, 100) == b"ef"
    assert message.part(5, 4) == b"bc\x00\x00"
    assert asked == [(0, 2), (4, 2), (1, 4)]


@pytest.mark.parametrize(
    "encoded",
    ["", "aa00", "aa00810401001001"[:-2], "ab0081040100100184021001", "aa008104010010018405",
     "aa0081040100100184841111111100", "aa0081040100100184021001ff"],
)  # fmt: skip
def test_what_is_no_message_is_said_to_be_none(encoded: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_message(bytes.fromhex(encoded))


@given(
    st.builds(
        Message,
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(0, 0xFFFF),
        st.none() | st.binary(min_size=4, max_size=4),
        st.none() | st.binary(max_size=400),
    )
)
def test_a_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert decode_message(message.encode()) == message


@given(st.binary(max_size=80).map(lambda noise: bytes.fromhex("aa008104821110") + noise))
def test_any_bytes_are_a_message_or_malformed(noise: bytes) -> None:
    try:
        message = decode_message(noise)
    except MalformedMessage:
        return
    assert message.kind == 0x82


def test_no_message_shows_its_payload() -> None:
    message = Message(0x83, 0, 0x0101, b"\x20\x08\x02\x02", b"4111111111111111")

    assert "4111" not in repr(message)
    assert "4111" not in repr(Outgoing(message.encode()))
