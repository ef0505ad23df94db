"""Sealed card data: a till learns little of it, the acquirer with the key everything, and clear data go nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers import dukpt, emv
from protocols.readers.emv import Tlv
from protocols.readers.magtek_mms import codes, sealed, tap
from protocols.readers.magtek_mms.peer import TEST_KEYS
from protocols.readers.magtek_mms.scripts import CARDS
from protocols.readers.magtek_mms.sealed import CardData, Refused

VISA = CARDS["visa"]
KSNS = {
    dukpt.TDES_SCHEME: bytes.fromhex("FFFF9876543210E00001"),
    dukpt.AES_SCHEME: bytes.fromhex("123456789012345600000001"),
}
CLEAR = (Tlv(0x57, VISA.track2), Tlv(0x5A, bytes.fromhex(VISA.number)), Tlv(0x9F27, b"\x80"))
BEFORE = bytes.fromhex("010184820123")


def blob(scheme: str = dukpt.TDES_SCHEME, shown: tuple[Tlv, ...] = ()) -> bytes:
    return tap.build(
        CLEAR,
        bdk=TEST_KEYS[scheme],
        ksn=KSNS[scheme],
        scheme=scheme,
        serial=bytes.fromhex("B5A1C3D0"),
        shown=shown,
    )


def beside(*shown: Tlv) -> CardData | Refused:
    return sealed.read(BEFORE + blob(shown=shown), codes.CONTACTLESS)


@pytest.mark.parametrize("scheme", [dukpt.TDES_SCHEME, dukpt.AES_SCHEME])
def test_sealed_data_pass_byte_for_byte_and_open_with_the_key(scheme: str) -> None:
    data = sealed.read(BEFORE + blob(scheme), codes.CONTACTLESS)

    assert isinstance(data, CardData)
    assert data.tap is not None
    assert data.tap.data == blob(scheme)
    assert (data.tap.format, data.tap.scheme, data.tap.ksn) == ("magtek_mms", scheme, KSNS[scheme])
    assert data.tap.serial_number == "B5A1C3D"
    opened = tap.open_clear(
        data.tap.data, bdk=TEST_KEYS[scheme], ksn=data.tap.ksn, scheme=data.tap.scheme
    )
    assert opened[: len(CLEAR)] == CLEAR


@pytest.mark.parametrize("scheme", [dukpt.TDES_SCHEME, dukpt.AES_SCHEME])
def test_nothing_of_the_card_is_in_the_sealed_data(scheme: str) -> None:
    encoded = blob(scheme)

    assert VISA.number.encode() not in encoded
    assert bytes.fromhex(VISA.number) not in encoded


def test_another_key_does_not_open_them() -> None:
    with pytest.raises(MalformedMessage):
        tap.open_clear(blob(), bdk=bytes(16), ksn=KSNS[dukpt.TDES_SCHEME], scheme=dukpt.TDES_SCHEME)


@pytest.mark.parametrize("data", [b"", b"\xf9", b"\xf9\x00", b"\xf9\x03\x9f\x27\x00", b"no"])
def test_what_is_not_sealed_is_not_opened(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        tap.open_clear(
            data,
            bdk=TEST_KEYS[dukpt.TDES_SCHEME],
            ksn=KSNS[dukpt.TDES_SCHEME],
            scheme=dukpt.TDES_SCHEME,
        )


def test_what_the_reader_shows_of_a_card_is_told_masked() -> None:
    data = beside(
        Tlv(sealed.MASKED_CHIP_TRACK, VISA.masked_track2),
        Tlv(0x4F, bytes.fromhex(VISA.aid)),
        Tlv(0x50, b"VISA CREDIT"),
        Tlv(0x9F27, b"\x80"),
        Tlv(0x9F39, b"\x05"),
        Tlv(0x9F34, b"\x02\x03\x00"),
    )

    assert isinstance(data, CardData)
    card = data.card
    assert (card.masked_pan, card.last4, card.brand) == ("411111******1111", "1111", "Visa")
    assert (card.entry_mode, card.verification) == ("chip", "pin_online")
    assert card.application_label == "VISA CREDIT"
    assert data.cryptogram == 0x80


def test_a_number_that_the_reader_masked_with_zeros_is_masked_and_goes_on() -> None:
    data = beside(Tlv(0x5A, bytes.fromhex("4111110000001111")))

    assert isinstance(data, CardData)
    assert data.tap is not None
    assert data.card.masked_pan == "411111******1111"


@pytest.mark.parametrize(
    "item",
    [
        Tlv(0x5A, bytes.fromhex("5555555555554444")),
        Tlv(0x57, VISA.track2),
        Tlv(0x57, CARDS["amex"].track2),
        Tlv(0x9F6B, VISA.track2),
        Tlv(0xDFDF31, b"%B4111111111111111^DOE/JANE^3012201"),
        Tlv(0xDF7F, b"card 5555555555554444."),
        Tlv(0xFC, children=(Tlv(0x5A, bytes.fromhex("378282246310005f")),)),
    ],
    ids=["number", "track", "odd track", "stripe", "text", "unknown tag", "nested"],
)
def test_a_readable_number_refuses_everything(item: Tlv) -> None:
    data = beside(item)

    assert isinstance(data, Refused)
    assert data.is_clear
    assert "4444" not in repr(data)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_no_sample_card_gets_through_unsealed(name: str) -> None:
    assert isinstance(beside(Tlv(0x57, CARDS[name].track2)), Refused)


def test_names_and_expiry_beside_the_sealed_data_are_left_out() -> None:
    data = beside(Tlv(0x5F20, b"DOE/JANE"), Tlv(0x5F24, b"\x30\x12\x31"), Tlv(0x50, b"VISA"))

    assert isinstance(data, CardData)
    assert data.tap is not None
    objects, _ = emv.parse_tlv(data.tap.data)
    assert emv.find(objects, 0x5F20) is None
    assert emv.find(objects, 0x5F24) is None
    assert emv.find(objects, 0x50) is not None
    assert b"DOE" not in data.tap.data
    assert "DOE" not in repr(data)


@pytest.mark.parametrize(
    ("kind", "is_sealed"), [(0x80, True), (0x90, False), (0x00, False), (0xF0, False)]
)
def test_only_a_key_of_its_kind_counts_as_sealed(kind: int, is_sealed: bool) -> None:
    encoded = blob().replace(
        bytes.fromhex("dfdf570180"), bytes.fromhex("dfdf5701") + bytes((kind,))
    )

    data = sealed.read(encoded, codes.CHIP)

    assert isinstance(data, CardData)
    assert (data.tap is not None) == is_sealed


def test_serial_numbers_are_told_as_on_the_label() -> None:
    assert sealed.serial_text(bytes.fromhex("B62B4360")) == "B62B436"
    assert sealed.serial_text(b"DF-0001\x00") == "DF-0001"
    assert sealed.serial_text(bytes.fromhex("992690E116120710")) == "992690E116120710"


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda end: blob()[:120] + end))
)
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    data = sealed.read(payload, 0x20)

    assert isinstance(data, CardData | Refused)
    sealed.objects_of(payload)


@given(st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_blob_never_raises(at: int, byte: int) -> None:
    encoded = bytearray(BEFORE + blob())
    encoded[at % len(encoded)] = byte

    sealed.read(bytes(encoded), codes.CHIP)
