"""The TLV container: the sheet's tags, the two-byte exception, and masking in place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.readers.emv import Tlv, encode_tlv, find
from protocols.readers.zvt import tlv

VISA = "4111111111111111"


def test_every_tag_of_the_sheet_has_a_name() -> None:
    sheet = (
        "07 09 0a 0f 10 11 12 14 15 1a 1b 1c 1d 1e 1f00 1f01 1f04 1f07 1f0e 1f0f 1f10 1f11 1f12 "
        "1f16 1f17 1f1f 1f25 1f36 1f2b 1f37 24 25 26 27 28 2d 2e 34 35 2f 40 41 42 43 44 45 46 47 "
        "60 e4 1f40 1f41 1f42 1f43 1f44 1f55 1f71 1f73 23 4c 1f45 1f4c 1f4d 1f4f 1f50 1f80 1f81"
    )

    assert [tag for tag in sheet.split() if int(tag, 16) not in tlv.NAMES] == []


@pytest.mark.parametrize(
    ("content", "tag", "value"),
    [
        ("1f070102", 0x1F07, "02"),
        ("2f081f1001001f120102", 0x1F12, "02"),
        ("2d091d01231e0400000fa0", 0x1E, "00000fa0"),
        ("2d061f8003616263", 0x1F80, "616263"),
        ("1f440452523535", 0x1F44, "52523535"),
        ("248200050703414243", 0x07, "414243"),
        ("2700", 0x27, ""),
    ],
)
def test_tags_are_found_where_the_sheet_puts_them(content: str, tag: int, value: str) -> None:
    objects, consumed = tlv.decode(bytes.fromhex(content))

    item = find(objects, tag)
    assert item is not None
    assert item.value.hex() == value
    assert consumed == len(content) // 2


@pytest.mark.parametrize(
    ("content", "masked"),
    [
        ("1f0a03010203", "1f0a03eeeeee"),
        (
            "1f09124111111111111111d251210112340000000f",
            "1f0912411111eeeeee1111d" + "e" * 19,
        ),
        ("5a08" + VISA, "5a08411111eeeeee1111"),
        ("600a5a08" + VISA, "600a5a08411111eeeeee1111"),
        ("0710" + VISA.encode().hex(), "0710" + b"411111******1111".hex()),
        ("1f1710" + VISA.encode().hex(), "1f1710" + b"411111******1111".hex()),
        ("df0108" + VISA, "df0108411111eeeeee1111"),
        ("990401020304", "9904eeeeeeee"),
    ],
)
def test_sensitive_values_are_masked_in_place(content: str, masked: str) -> None:
    safe, _ = tlv.mask(bytes.fromhex(content))

    assert safe.hex() == masked


def test_a_container_without_secrets_stays_byte_for_byte_even_with_long_lengths() -> None:
    content = bytes.fromhex("1f07810102258103070141")

    assert tlv.mask(content) == (content, None)


def test_what_cannot_be_read_is_hidden_because_it_may_be_anything() -> None:
    content = bytes.fromhex("1f0701015a20" + VISA)

    safe, quirk = tlv.mask(content)

    assert safe.hex() == "1f070101" + "ee" * 10
    assert quirk == "tlv_unreadable"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1, "iso8859-1"),
        (15, "iso8859-15"),
        (16, "iso8859-16"),
        (0xFE, "utf-8"),
        (12, "cp437"),
        (0xFF, "cp437"),
        (0, "cp437"),
    ],
)
def test_a_container_may_choose_its_character_set(code: int, name: str) -> None:
    charset = tlv.charset_of((Tlv(tlv.CHARACTER_SET, bytes((code,))),), "cp437")

    assert charset == name
    assert "x".encode(charset) == b"x"


def test_a_number_is_only_read_from_digits() -> None:
    objects = (Tlv(0x1F2B, bytes.fromhex("0012345678")), Tlv(0x1F42, b"\xab"))

    assert tlv.number(objects, 0x1F2B) == 12345678
    assert tlv.number(objects, 0x1F42) is None
    assert tlv.number(objects, 0x1F44) is None


@given(st.binary(max_size=500))
def test_masking_random_bytes_keeps_their_length_and_is_final(noise: bytes) -> None:
    safe, _ = tlv.mask(noise)

    again, _ = tlv.mask(safe)
    assert len(safe) <= len(noise)
    assert again == safe
    assert encode_tlv(tlv.decode(safe)[0]) is not None
