"""A message as people see it: complete, in words, and without card data or passwords."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.emv import Tlv
from protocols.readers.zvt import bitmaps, codes, messages, tlv
from protocols.readers.zvt.bitmaps import Fields, SchemeSum, TurnoverSums
from protocols.readers.zvt.decode import describe
from protocols.readers.zvt.serial_link import encode_frame

VISA = "4111111111111111"
#: Known-good frames of other implementations, where this machine has them.
VECTORS = Path(__file__).parents[6] / "shared" / "vectors" / "zvt.jsonl"


def _shown(encoded: str, **options: Any) -> dict[str, Any]:  # Any: options of describe
    described: dict[str, Any] = describe(bytes.fromhex(encoded), **options)
    json.dumps(described)
    return described


def test_a_registration() -> None:
    assert _shown("060006123456de0978") == {
        "cc": "0600",
        "length": 6,
        "name": "registration",
        "password": "******",
        "config_byte": "de",
        "currency": "0978",
        "bmps": [],
    }


def test_a_registration_completed() -> None:
    shown = _shown("060f0a19102952523535490978")

    assert shown["bmps"] == [["19", "10"], ["29", "52523535"], ["49", "0978"]]
    assert shown["fields"] == {"status_byte": 16, "terminal_id": "52523535", "currency": 978}


def test_a_payment_asked_for() -> None:
    shown = _shown("06010a04000000001234490978")

    assert shown["name"] == "authorisation"
    assert shown["bmps"] == [["04", "000000001234"], ["49", "0978"]]
    assert shown["fields"] == {"amount_minor": 1234, "currency": 978}
    assert shown["meaning"] == {"amount": "12.34 EUR"}


@pytest.mark.parametrize(
    ("encoded", "key", "value", "meaning"),
    [
        ("04ff0117", "intermediate_status", 0x17, "wait"),
        ("060f01dc", "terminal_status", 0xDC, "card is inserted"),
        ("061e016c", "result_code", 0x6C, "stopped by key or time-out"),
        ("848300", "error", 0x83, "function not possible"),
        ("849c00", "error", 0x9C, "busy, ask again later"),
        ("08300101", "language", 1, "English"),
        ("08400107", "baud_rate", 7, "115200 baud"),
    ],
)
def test_codes_are_told_with_their_meaning(
    encoded: str, key: str, value: int, meaning: str
) -> None:
    shown = _shown(encoded)

    assert shown[key] == value
    assert shown["meaning"][key] == meaning


@pytest.mark.parametrize(
    ("encoded", "kind"),
    [("800000", "ack"), ("840000", "ack"), ("849c00", "nack"), ("84cc00", "nack")],
)
def test_answers_are_kinds(encoded: str, kind: str) -> None:
    assert _shown(encoded)["kind"] == kind
    assert ("error" in _shown(encoded)) == (kind == "nack")


def test_a_serial_frame_shows_its_parts() -> None:
    shown = _shown("1002060006123456ba0978100324c3", framing="serial")

    assert shown["apdu"] == "060006123456ba0978"
    assert shown["crc_lo_hi"] == "24c3"
    assert shown["decoded"]["config_byte"] == "ba"


@pytest.mark.parametrize(("byte", "kind"), [("06", "ack"), ("15", "nack")])
def test_a_single_acknowledgement_on_the_line(byte: str, kind: str) -> None:
    assert _shown(byte, framing="serial")["kind"] == kind


def test_turnover_is_told_by_scheme() -> None:
    sums = TurnoverSums(
        233, 234, (SchemeSum(0, 0),) * 4 + (SchemeSum(2, 958),) + (SchemeSum(0, 0),) * 2
    )
    fields = Fields.of({bitmaps.AMOUNT: 958, bitmaps.CURRENCY: 978, bitmaps.TOTALS: sums})

    shown = _shown(messages.status_information(fields).encode().hex())

    totals = shown["fields"]["totals"]
    assert (totals["receipt_from"], totals["receipt_to"]) == (233, 234)
    assert list(totals["schemes"]) == list(codes.SCHEMES)
    assert totals["schemes"]["Visa"] == {"count": 2, "sum_minor": 958}
    assert shown["meaning"]["amount"] == "9.58 EUR"


def test_a_print_block_shows_its_lines_and_its_tree() -> None:
    shown = _shown(messages.print_block(2, ["Danke", "gern"], last=True).encode().hex())

    assert shown["lines"] == ["Danke", "gern"]
    assert shown["last"] is True
    assert shown["receipt"] == "customer"
    assert shown["tlv"][0] == {"tag": "1f07", "name": "receipt kind", "value": "02"}
    assert shown["tlv"][1]["children"][0]["text"] == "Danke"


def test_device_data_of_a_status_is_named() -> None:
    objects = (
        Tlv(tlv.TERMINAL_ID, bytes.fromhex("52523535")),
        Tlv(tlv.DEVICE, children=(Tlv(tlv.DEVICE_NAME, b"cVEND plug"),)),
        Tlv(tlv.LOCKS, b"\x20\x00"),
    )
    message = messages.status_completion(0x62, version="SIM 1.02.3", objects=objects)

    shown = _shown(message.encode().hex())

    assert shown["software_version"] == "SIM 1.02.3"
    assert shown["meaning"]["terminal_status"] == "date or time wrong"
    assert shown["tlv"] == [
        {"tag": "1f44", "name": "terminal id", "value": "52523535"},
        {
            "tag": "e4",
            "name": "device",
            "children": [
                {
                    "tag": "1f40",
                    "name": "device name",
                    "value": b"cVEND plug".hex(),
                    "text": "cVEND plug",
                }
            ],
        },
        {"tag": "1f55", "name": "terminal locks", "value": "2000", "locks": ["diagnosis"]},
    ]


def _message_with(control: str, content: str) -> bytes:
    return bytes.fromhex(f"{control}{len(content) // 2:02x}{content}")


@pytest.mark.parametrize(
    "recorded",
    [
        _message_with("040f", "22f0f8" + VISA),
        _message_with("040f", "22f0f9" + VISA),
        _message_with("040f", "23f1f7" + VISA + "d25121011234000000"),
        _message_with("040f", "24f1f059" + VISA + "d2"),
        _message_with("040f", "2df1f7" + ("B" + VISA).encode().hex()),
        _message_with("040f", "3cf0f1f6" + VISA.encode().hex()),
        _message_with("040f", "8bf1f6" + VISA.encode().hex()),
        _message_with("040f", "060a5a08" + VISA),
        _message_with("040f", "060c600a5a08" + VISA),
        _message_with("040f", "060b1f0908" + VISA),
        _message_with("040f", "06125710" + VISA + "d251210112340000"),
        _message_with("040f", "06125a" + VISA),
        _message_with("040f", "7f" + VISA),
        _message_with("040f", VISA),
        _message_with("04ff", "0a061807" + "10" + VISA.encode().hex()),
        _message_with("0499", VISA),
        _message_with("060f", "22f0f8" + VISA),
        _message_with("060f", "f0f1f6" + VISA.encode().hex() + "00"),
        _message_with("061e", "6c22f0f8" + VISA),
        _message_with("06c0", "0f22f0f8" + VISA),
        _message_with("06d1", "00" + VISA.encode().hex()),
        _message_with("06d3", "06142512" + "0710" + VISA.encode().hex()),
        _message_with("06e0", "f1f1f6" + VISA.encode().hex()),
        _message_with("8000", "22f0f8" + VISA),
        _message_with("8483", "22f0f8" + VISA),
    ],
    ids=bytes.hex,
)
@pytest.mark.parametrize("framing", ["apdu", "serial"])
def test_no_clear_card_number_leaves(recorded: bytes, framing: str) -> None:
    shown = json.dumps(
        describe(encode_frame(recorded) if framing == "serial" else recorded, framing=framing)
    )

    assert VISA[:11] not in shown
    assert VISA[:11].encode().hex() not in shown


def test_a_masked_card_number_keeps_six_and_four_digits() -> None:
    shown = _shown("040f0b22f0f8" + VISA)

    assert shown["fields"]["masked_pan"] == "411111******1111"
    assert shown["bmps"] == [["22", "411111eeeeee1111"]]
    assert shown["quirks"] == ["pan_in_clear"]


@pytest.mark.parametrize("recorded", ["", "06", "0600", "80000001", "06d3ff0001"])
def test_what_is_no_message_is_refused(recorded: str) -> None:
    with pytest.raises(MalformedMessage):
        describe(bytes.fromhex(recorded))


@given(st.binary(max_size=400), st.sampled_from(["apdu", "serial"]))
def test_random_bytes_are_shown_or_refused(noise: bytes, framing: str) -> None:
    for recorded in (noise, noise[:2].ljust(2, b"\x06") + bytes((len(noise) % 200,)) + noise):
        try:
            json.dumps(describe(recorded, framing=framing))
        except MalformedMessage:
            continue


@given(
    st.sampled_from([0x040F, 0x060F, 0x061E, 0x06D3, 0x0600, 0x04FF, 0x8000]),
    st.binary(max_size=250),
)
def test_random_content_of_a_known_message_is_shown_on_both_links(
    control: int, noise: bytes
) -> None:
    apdu = control.to_bytes(2, "big") + bytes((len(noise),)) + noise

    shown = describe(apdu)
    framed = describe(encode_frame(apdu), framing="serial")

    assert shown["length"] == len(noise)
    assert framed["decoded"] == shown
    assert len(str(framed["apdu"])) == 2 * len(apdu)
    json.dumps(shown)


@pytest.mark.skipif(
    not VECTORS.exists(), reason="the recordings of other implementations are not on this machine"
)
def test_recordings_of_other_implementations_are_read_as_they_say() -> None:
    recordings = [json.loads(line) for line in VECTORS.read_text().splitlines()]

    differences = [
        (recording["hex"], difference)
        for recording in recordings
        for difference in _differences(
            recording["expect"],
            describe(bytes.fromhex(recording["hex"]), framing=recording["framing"]),
        )
    ]

    assert differences == []
    assert len(recordings) >= 12


def _differences(expected: dict[str, Any], shown: Any) -> list[str]:  # Any: JSON
    found = []
    for key, value in expected.items():
        if isinstance(value, dict):
            found += _differences(value, shown.get(key, {}))
        elif shown.get(key) != value:
            found.append(f"{key}: {shown.get(key)!r} instead of {value!r}")
    return found
