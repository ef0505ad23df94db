"""Every bitmap of the sheet, byte for byte, and what becomes of broken ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.emv import Tlv
from protocols.readers.zvt import bitmaps, codes
from protocols.readers.zvt.bitmaps import (
    BITMAPS,
    Fields,
    SchemeSum,
    TurnoverSums,
    decode_fields,
    encode_ll,
)

#: One value for every kind, and how it travels, from section 4 of the sheet.
SAMPLES = [
    (0x01, 30, "011e"),
    (0x02, 5, "0205"),
    (0x03, 4, "0304"),
    (0x04, 1234, "04000000001234"),
    (0x05, 7, "0507"),
    (0x06, (), "0600"),
    (0x06, (Tlv(0x1F07, b"\x02"),), "06041f070102"),
    (0x0B, 975, "0b000975"),
    (0x0C, "225558", "0c225558"),
    (0x0D, "0405", "0d0405"),
    (0x0E, "2405", "0e2405"),
    (0x17, 2, "170002"),
    (0x19, 0x60, "1960"),
    (0x22, "679998******2345", "22f0f8679998eeeeee2345"),
    (0x22, "471100*********8004", "22f1f0471100eeeeeeeee8004f"),
    (0x27, 0x6C, "276c"),
    (0x29, "52523535", "2952523535"),
    (0x2A, "804011926", "2a383034303131393236202020202020"),
    (0x37, 12, "37000012"),
    (0x3B, "750071", "3b3735303037310000"),
    (0x3C, "Käse", "3cf0f0f44b847365"),
    (0x49, 978, "490978"),
    (0x4C, "0102", "4cf0f20102"),
    (0x70, "00000001", "7000000001"),
    (0x71, "00001000", "7100001000"),
    (0x72, 1, "7201"),
    (0x75, 1, "7501"),
    (0x87, 231, "870231"),
    (0x88, 12, "88000012"),
    (0x8A, 6, "8a06"),
    (0x8B, "Visa", "8bf0f456697361"),
    (0x8C, 1, "8c01"),
    (0xA0, 5, "a005"),
    (0xAA, "260131", "aa260131"),
    (0xBA, "0102030405", "ba0102030405"),
    (0xD0, 1, "d001"),
    (0xD2, 1, "d201"),
    (0xD3, 1, "d301"),
    (0xE0, 1, "e001"),
    (0xE1, "A", "e1f0f141"),
    (0xE8, "B", "e8f0f142"),
    (0xE9, 9, "e909"),
    (0xEA, 1, "ea01"),
    (0xF0, 10, "f00a"),
    (0xF1, "Hallo", "f1f0f548616c6c6f"),
    (0xF8, "x", "f8f0f178"),
    (0xF9, 3, "f903"),
    (0xFA, 1, "fa01"),
    (0xFB, 1, "fb01"),
    (0xFC, 2, "fc02"),
    (0xFD, 1, "fd01"),
]


@pytest.mark.parametrize(("bitmap", "value", "encoded"), SAMPLES)
def test_a_value_travels_as_the_sheet_says_and_comes_back(
    bitmap: int, value: bitmaps.Value, encoded: str
) -> None:
    fields = Fields.of({bitmap: value})

    assert fields.encode().hex() == encoded
    assert decode_fields(bytes.fromhex(encoded)).value(bitmap) == value


@pytest.mark.parametrize(
    ("bitmap", "clear"),
    [
        (0x23, "23f1f74111111111111111d25121011234000000"),
        (0x24, "24f0f0f85941111111111111"),
        (0x2D, "2df0f84234313131313131"),
        (0x2E, "2ef0f0f20102"),
        (0x3A, "3a0123"),
        (0x3D, "3d123456"),
        (0x92, "92f0f0f20102"),
        (0x9A, "9af0f0f20102"),
        (0xA7, "a7f0f20102"),
        (0xAF, "aff0f0f20102"),
        (0xD1, "d1f0f20102"),
        (0xEB, "eb0102030405060708"),
    ],
)
def test_what_nobody_may_see_is_gone_after_decoding(bitmap: int, clear: str) -> None:
    fields = decode_fields(bytes.fromhex(clear))

    shown = fields.raw(bitmap)
    assert shown is not None
    assert "123" not in shown.hex()
    assert "0102" not in shown.hex()
    assert len(fields.encode()) == len(bytes.fromhex(clear))


def test_every_bitmap_of_the_table_is_decoded_with_its_length() -> None:
    lengths = {bitmaps.LL: b"\xf0\xf1", bitmaps.LLL: b"\xf0\xf0\xf1", bitmaps.BER: b"\x02"}
    blocks = {
        bitmap: bytes((bitmap,))
        + lengths.get(known.length, b"")
        + bytes({bitmaps.LL: 1, bitmaps.LLL: 1, bitmaps.BER: 2}.get(known.length, known.length))
        for bitmap, known in BITMAPS.items()
    }
    whole = b"".join(blocks.values())

    fields = decode_fields(whole)

    assert [bitmap for bitmap, _ in fields.items] == list(blocks)
    assert fields.remainder is None


def test_the_table_has_every_bitmap_of_the_sheet() -> None:
    sheet = (
        "01 02 03 04 05 06 0b 0c 0d 0e 17 19 22 23 24 27 29 2a 2d 2e 37 3a 3b 3c 3d 49 4c 60 "
        "70 71 72 73 74 75 87 88 8a 8b 8c 92 9a a0 a7 aa af ba d0 d1 d2 d3 "
        "e0 e1 e2 e3 e4 e5 e6 e7 e8 e9 ea eb f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fc fd"
    )

    assert {int(bitmap, 16) for bitmap in sheet.split()} <= BITMAPS.keys()


def test_a_missing_f_nibble_in_a_length_is_tolerated_and_counted() -> None:
    fields = decode_fields(bytes.fromhex("8b0004566973618a0a"))

    assert fields.text(bitmaps.CARD_NAME) == "Visa"
    assert fields.number(bitmaps.CARD_TYPE) == 0x0A
    assert fields.quirks == ("length_without_f",)


@pytest.mark.parametrize(
    ("block", "quirk", "kept", "rest"),
    [
        ("27007f0102030405", "unknown_bitmap", 1, 6),
        ("2700040000", "truncated_bitmap", 1, 3),
        ("27003cf1f0f041", "truncated_bitmap", 1, 5),
        ("27003cf1", "truncated_bitmap", 1, 2),
        ("27003cfafbfc41", "truncated_bitmap", 1, 5),
        ("2700068201", "truncated_bitmap", 1, 3),
        ("00", "unknown_bitmap", 0, 1),
    ],
)
def test_what_cannot_be_read_is_kept_hidden_and_counted(
    block: str, quirk: str, kept: int, rest: int
) -> None:
    fields = decode_fields(bytes.fromhex(block))

    assert fields.quirks == (quirk,)
    assert len(fields.items) == kept
    assert fields.remainder is not None
    assert len(fields.remainder.reveal()) == rest
    assert fields.encode().hex() == block
    assert "•••" in repr(fields)


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        ("22f0f84111111111111111", "411111******1111"),
        ("22f1f04711008005757038004f", "471100*********8004"),
    ],
)
def test_a_clear_card_number_is_masked_and_counted(block: str, shown: str) -> None:
    fields = decode_fields(bytes.fromhex(block))

    assert fields.text(bitmaps.PAN) == shown
    assert fields.quirks == ("pan_in_clear",)


def test_a_number_that_the_terminal_masked_stays_as_it_is() -> None:
    fields = decode_fields(bytes.fromhex("22f0f8679998eeeeee2345"))

    assert fields.raw(bitmaps.PAN) == bytes.fromhex("679998eeeeee2345")
    assert fields.quirks == ()


def test_a_card_number_in_a_text_is_masked_and_counted() -> None:
    text = b"Karte 4111 1111 1111 1111"
    fields = decode_fields(b"\x3c" + encode_ll(len(text), 3) + text)

    assert fields.text(bitmaps.ADDITIONAL_TEXT) == "Karte 4111 11** **** 1111"
    assert fields.quirks == ("pan_in_clear",)


def test_turnover_sums_are_read_in_the_order_of_the_schemes() -> None:
    block = bytes.fromhex(
        "60f0f5f3"
        "02330234"
        "00000000000000"
        "00000000000000"
        "02000000000958"
        "00000000000000"
        "00000000000000"
        "00000000000000"
        "01000000000100"
    )

    totals = decode_fields(block).totals

    assert totals is not None
    assert (totals.receipt_from, totals.receipt_to) == (233, 234)
    assert dict(zip(codes.SCHEMES, totals.sums, strict=True)) == {
        **dict.fromkeys(codes.SCHEMES, SchemeSum(0, 0)),
        "Mastercard": SchemeSum(2, 958),
        "others": SchemeSum(1, 100),
    }


@given(
    st.integers(0, 9999),
    st.integers(0, 9999),
    st.lists(
        st.builds(SchemeSum, st.integers(0, 255), st.integers(0, 10**12 - 1)),
        min_size=7,
        max_size=7,
    ),
)
def test_turnover_sums_survive_encoding(first: int, last: int, sums: list[SchemeSum]) -> None:
    totals = TurnoverSums(first, last, tuple(sums))

    assert decode_fields(Fields.of({bitmaps.TOTALS: totals}).encode()).totals == totals


@pytest.mark.parametrize(
    ("bitmap", "value"),
    [
        (bitmaps.AMOUNT, -1),
        (bitmaps.AMOUNT, 10**12),
        (bitmaps.RESULT, 256),
        (bitmaps.RESULT, -1),
        (bitmaps.RESULT, "text"),
        (bitmaps.TERMINAL_ID, "123"),
        (bitmaps.TERMINAL_ID, "1234567x"),
        (bitmaps.AUTHORIZATION, "too long for it"),
        (bitmaps.TOTALS, TurnoverSums(1, 2, (SchemeSum(256, 0),))),
    ],
)
def test_a_value_that_does_not_fit_is_refused(bitmap: int, value: bitmaps.Value) -> None:
    with pytest.raises(MalformedMessage):
        Fields.of({bitmap: value})


def test_a_text_longer_than_its_length_can_say_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        Fields.of({bitmaps.CARD_NAME: "x" * 100}).encode()


def _field() -> st.SearchStrategy[tuple[int, bytes]]:
    """Any bitmap with content that masking leaves alone."""

    def content(bitmap: int) -> st.SearchStrategy[tuple[int, bytes]]:
        known = BITMAPS[bitmap]
        size = known.length if known.length > 0 else 12
        if known.holds == "tlv":
            return st.just((bitmap, b""))
        if known.holds in {"hidden", "track"}:
            return st.just((bitmap, b"\xee" * size))
        if known.holds == "pan":
            return st.just((bitmap, bytes.fromhex("679998eeeeee2345")))
        longest = size if known.length > 0 else 12
        return st.binary(min_size=size if known.length > 0 else 0, max_size=longest).map(
            lambda value: (bitmap, value)
        )

    return st.sampled_from(sorted(BITMAPS)).flatmap(content)


@given(st.lists(_field(), max_size=30))
def test_any_fields_survive_encoding(items: list[tuple[int, bytes]]) -> None:
    fields = Fields(tuple(items))

    assert decode_fields(fields.encode()) == fields


@given(st.binary(max_size=600))
def test_random_bytes_become_fields_that_encode_to_the_same_length(noise: bytes) -> None:
    fields = decode_fields(noise)

    for bitmap, _ in fields.items:
        fields.value(bitmap)
    assert fields.totals is None or isinstance(fields.totals, TurnoverSums)
    assert decode_fields(fields.encode()).items == fields.items
