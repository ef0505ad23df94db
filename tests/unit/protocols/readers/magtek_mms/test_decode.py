"""Recorded bytes as people see them: everything named, nothing of a card."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers import registry
from protocols.readers.emv import Tlv
from protocols.readers.magtek_mms import codes, links
from protocols.readers.magtek_mms.decode import FRAMINGS, describe
from protocols.readers.magtek_mms.message import Outgoing, notification, request, response
from protocols.readers.magtek_mms.scripts import CARDS
from tests.unit.protocols.readers.magtek_mms.counter import Counter
from tests.unit.protocols.readers.magtek_mms.test_machine import card_data, clear

CANCEL = bytes.fromhex("aa0081040113100884021008")
SHOWN = Tlv(0x50, b"A LONG APPLICATION LABEL, SO THAT THERE ARE MANY PACKETS" * 5)
ONLINE = notification(
    codes.PROGRESS, codes.CONTACTLESS, codes.ONLINE_DATA, card_data(SHOWN)
).encode()


def joined(framing: str, message: bytes) -> bytes:
    link = links.make_link(framing)
    link.send(Outgoing(message))
    packets = []
    while packet := link.outgoing():
        packets.append(packet)
    return b"".join(packets)


def test_a_request_is_told() -> None:
    assert describe(CANCEL) == {
        "type": "01",
        "kind": "request from the host",
        "reference": "13",
        "id": "1008",
        "name": "cancel transaction",
        "payload_length": 2,
    }


def test_a_response_is_told_with_its_meaning() -> None:
    shown = describe(bytes.fromhex("aa0081048201100182048102030884021001"))

    assert shown["name"] == "start transaction"
    assert shown["meaning"] == {"status": "failed: a transaction runs"}


@pytest.mark.parametrize(
    ("number", "first", "detail", "meaning"),
    [
        (codes.PROGRESS, codes.CHIP, 0x010200, "chip: card inserted"),
        (codes.COMPLETE, codes.CONTACTLESS, 0x020600, "contactless: approved"),
        (codes.COMPLETE, 0x00, 0x030200, "none: cancelled by the customer"),
        (codes.DEVICE, 0x00, 0x02000C, "the battery is low"),
        (codes.DEVICE, 0x00, 0x000000, "the reader has restarted"),
        (codes.FIRMWARE_OK, 0x08, 0x010A03, "08 010A03"),
    ],
)
def test_notifications_are_told(number: int, first: int, detail: int, meaning: str) -> None:
    shown = describe(notification(number, first, detail).encode())

    assert shown["meaning"] == {"status": meaning}
    assert shown["kind"] == "notification from the reader"


@pytest.mark.parametrize("framing", links.FRAMINGS)
@pytest.mark.parametrize("message", [CANCEL, ONLINE], ids=["short", "long"])
def test_every_framing_shows_the_same_message(framing: str, message: bytes) -> None:
    assert describe(joined(framing, message), framing=framing)["decoded"] == describe(message)


def test_one_packet_of_many_is_told_as_that() -> None:
    head, middle = (joined("usb_hid", ONLINE)[at : at + 64] for at in (0, 64))
    packet = joined("ble_gatt", ONLINE)[:244]

    assert describe(head, framing="usb_hid") == {"packet": "head", "total_length": len(ONLINE)}
    assert describe(middle, framing="usb_hid") == {"packet": "middle", "number": 1}
    assert describe(packet, framing="ble_gatt") == {
        "message_counter": 0,
        "packet_counter": 0,
        "total_length": len(ONLINE),
    }


def test_sealed_data_are_told_by_their_length_and_clear_ones_masked() -> None:
    shown = json.dumps(describe(ONLINE))
    told = json.dumps(describe(clear().encode()))

    assert '"sealed_length"' in shown
    assert "FFFF9876543210E00001".lower() in shown
    assert "5555555555554444" not in told
    assert "555555eeeeee4444" in told


def test_a_pin_block_is_never_shown() -> None:
    pin = notification(codes.PIN_DONE, 0x00, 0, bytes.fromhex("f50a99081122334455667788"))

    assert "1122334455667788" not in json.dumps(describe(pin.encode()))


def test_an_amount_is_told() -> None:
    counter = Counter("serial")
    counter.sell()
    started = [sent for sent in counter.from_host if b"\x10\x01\x84" in sent]

    shown = describe(started[0], framing="serial")["decoded"]

    assert isinstance(shown, dict)
    assert shown["meaning"] == {"amount": "1234 minor units of currency 0978"}


@pytest.mark.parametrize("framing", links.FRAMINGS)
def test_nothing_of_any_card_is_seen_in_a_whole_conversation(framing: str) -> None:
    counter = Counter(framing, faults=("clear_pan",))
    counter.sell()
    shown = ""
    for packet in (*counter.from_host, *counter.from_terminal):
        try:
            shown += json.dumps(describe(packet, framing=framing))
        except MalformedMessage:
            continue

    assert len(shown) > 500
    assert [card.number for card in CARDS.values() if card.number in shown] == []
    assert "start transaction" in shown


def test_a_firmware_file_is_told_by_its_size_only() -> None:
    load = request(codes.LOAD_FIRMWARE, 1)
    payload = (load.payload or b"") + bytes.fromhex("87820400") + bytes(1024)

    shown = describe(type(load)(1, 1, codes.LOAD_FIRMWARE, payload=payload).encode())

    assert len(json.dumps(shown)) < 400
    assert shown["payload_length"] == 1030


@pytest.mark.parametrize("framing", ["", "carrier_pigeon"])
def test_another_framing_is_refused(framing: str) -> None:
    with pytest.raises(CommandNotPossible):
        describe(CANCEL, framing=framing)


def test_the_registry_finds_it() -> None:
    shown = registry.describe("magtek_mms", joined("serial", CANCEL), framing="serial")

    assert shown["decoded"] == describe(CANCEL)


@pytest.mark.parametrize("framing", FRAMINGS)
@settings(max_examples=80, deadline=None)
@given(noise=st.one_of(
    st.binary(max_size=130),
    st.binary(max_size=60).map(lambda end: response(request(codes.START, 1)).encode() + end),
))  # fmt: skip
def test_any_bytes_are_told_or_malformed(framing: str, noise: bytes) -> None:
    try:
        shown = describe(noise, framing=framing)
    except MalformedMessage:
        return
    json.dumps(shown)
