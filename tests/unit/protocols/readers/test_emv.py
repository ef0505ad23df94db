"""Card numbers and BER-TLV: masked, bounded, and the same after a round trip."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.emv import (
    MAX_DEPTH,
    Tlv,
    contains_card_number,
    decode_tlv,
    encode_length,
    encode_tlv,
    find,
    mask_nibbles,
    mask_pan,
    masked,
    parse_tlv,
    passes_luhn,
    redact_card_numbers,
)

VISA = "4111111111111111"


# --- card numbers ---


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (VISA, "411111******1111"),
        ("378282246310005", "378282*****0005"),
        ("4711008005757038004", "471100*********8004"),
        ("4222222222222", "422222***2222"),
        ("679998eeeeee2345", "679998******2345"),
        ("123456789012", "********9012"),
        ("12345678", "********"),
        ("", ""),
    ],
)
def test_a_card_number_shows_at_most_six_and_four_digits(number: str, shown: str) -> None:
    assert mask_pan(number) == shown


@pytest.mark.parametrize(
    ("packed", "shown"),
    [
        ("4111111111111111", "411111eeeeee1111"),
        ("4711008005757038004f", "471100eeeeeeeee8004f"),
        ("679998eeeeee2345", "679998eeeeee2345"),
        ("4111111111111111d2512101123400000f", "411111eeeeee1111deeeeeeeeeeeeeeeee"),
        ("", ""),
        ("ffff", "ffff"),
    ],
)
def test_packed_numbers_and_tracks_are_masked_in_place(packed: str, shown: str) -> None:
    assert mask_nibbles(bytes.fromhex(packed)).hex() == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Karte {VISA} ok", "Karte 411111******1111 ok"),
        ("4111 1111 1111 1111", "4111 11** **** 1111"),
        ("4111-1111-1111-1111", "4111-11**-****-1111"),
        ("4111\u00a01111\u00a01111\u00a01111", "4111\u00a011**\u00a0****\u00a01111"),
        ("PAN 378282246310005.", "PAN 378282*****0005."),
        (f"{VISA} 1225", "411111******1111 1225"),
        (f"0979 {VISA}", "0979 411111******1111"),
        (f"{VISA}/{VISA}", "411111******1111/411111******1111"),
        ("0004111111111111111", "000411*********1111"),
        ("4711008005757038004", "471100*********8004"),
    ],
)
def test_card_numbers_in_text_are_masked_however_they_are_grouped(text: str, shown: str) -> None:
    assert contains_card_number(text)
    assert redact_card_numbers(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "0000000000000000",
        "411111111111",
        "Terminal-ID:    52523535",
        "02.11.2021 08:35:32",
        "41111111  11111111",
        "4111.1111.1111.1111",
        "411111******1111",
        "",
    ],
)
def test_what_is_no_card_number_stays(text: str) -> None:
    assert not contains_card_number(text)
    assert redact_card_numbers(text) == text


def test_the_net_takes_time_linear_in_the_text() -> None:
    texts = ["4" * 100_000, "4 " * 50_000, "41-1" * 25_000, (VISA + " ") * 5_000]

    began = time.process_time()
    for text in texts:
        redact_card_numbers(text)

    assert time.process_time() - began < 4


@given(st.text(alphabet="0123456789 -x", max_size=80))
def test_nothing_passes_the_net_twice(text: str) -> None:
    redacted = redact_card_numbers(text)

    assert len(redacted) == len(text)
    assert redact_card_numbers(redacted) == redacted
    assert not contains_card_number(redacted)


@given(
    st.integers(12, 18).flatmap(lambda size: st.text("0123456789", min_size=size, max_size=size))
)
def test_every_number_has_exactly_one_check_digit(number: str) -> None:
    assert sum(passes_luhn(number + digit) for digit in "0123456789") == 1


# --- BER-TLV ---


def _objects(depth: int = 3) -> st.SearchStrategy[tuple[Tlv, ...]]:
    primitive = st.builds(
        Tlv,
        st.sampled_from([0x9F02, 0x5A, 0x9C, 0xDF8129, 0x4F, 0x82, 0x9F1E, 0x1F07]),
        st.binary(max_size=200),
    )
    if depth == 0:
        return st.lists(primitive, max_size=4).map(tuple)
    constructed = st.builds(
        lambda tag, children: Tlv(tag, children=children),
        st.sampled_from([0x6F, 0x70, 0xE4, 0xBF0C]),
        _objects(depth - 1),
    )
    return st.lists(primitive | constructed, max_size=4).map(tuple)


@given(_objects())
def test_objects_survive_encoding(objects: tuple[Tlv, ...]) -> None:
    assert decode_tlv(encode_tlv(objects)) == objects


@given(st.binary(max_size=400))
def test_random_bytes_are_objects_or_a_protocol_error(noise: bytes) -> None:
    objects, consumed = parse_tlv(noise)

    assert 0 <= consumed <= len(noise)
    assert parse_tlv(encode_tlv(objects))[0] == objects
    with suppress(MalformedMessage):
        decode_tlv(noise)


@pytest.mark.parametrize(
    ("encoded", "tag", "value"),
    [
        ("9f0206000000001234", 0x9F02, "000000001234"),
        ("00ff009c0100ff", 0x9C, "00"),
        ("df81290830f0f0f0a0f0ff00", 0xDF8129, "30f0f0f0a0f0ff00"),
        ("6f078405a000000003", 0x84, "a000000003"),
        ("5a81084111111111111111", 0x5A, "4111111111111111"),
        ("9a03260131", 0x9A, "260131"),
    ],
)
def test_objects_are_found_by_their_tag(encoded: str, tag: int, value: str) -> None:
    item = find(decode_tlv(bytes.fromhex(encoded)), tag)

    assert item is not None
    assert item.value.hex() == value


@pytest.mark.parametrize(
    "encoded",
    ["9f", "9f02", "9f0206", "9f020600", "5a84000000", "6f039f02ff", "1fffffffff01", "5a80"],
)
def test_cut_off_objects_are_refused(encoded: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_tlv(bytes.fromhex(encoded))


def test_objects_nested_too_deep_are_refused() -> None:
    deepest = b"\x9c\x01\x00"
    for _ in range(MAX_DEPTH - 1):
        deepest = b"\x70" + encode_length(len(deepest)) + deepest
    too_deep = b"\x70" + encode_length(len(deepest)) + deepest

    assert decode_tlv(deepest) != ()
    with pytest.raises(MalformedMessage):
        decode_tlv(too_deep)


def test_a_bomb_of_nesting_is_refused_at_once() -> None:
    bomb = b"\x70\x83\x00\xff\xf0" * 13_000

    began = time.process_time()
    parse_tlv(bomb)

    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, "00"),
        (0x7F, "7f"),
        (0x80, "8180"),
        (0xFF, "81ff"),
        (0x100, "820100"),
        (70000, "83011170"),
    ],
)
def test_lengths_take_as_few_bytes_as_possible(length: int, encoded: str) -> None:
    assert encode_length(length).hex() == encoded


def test_sensitive_objects_are_masked_and_keep_their_length() -> None:
    clear = decode_tlv(
        bytes.fromhex(
            "5a084111111111111111"
            "57114111111111111111d25121011234000000"
            "5f200a444f452f4a4f484e2020"
            "99081122334455667788"
            "9f0206000000001234"
        )
    )

    shown = {f"{item.tag:X}": item.value.hex() for item in masked(clear)}

    assert shown["5A"] == "411111eeeeee1111"
    assert shown["57"] == "411111eeeeee1111deeeeeeeeeeeeeeeee"
    assert shown["5F20"] == "ee" * 10
    assert shown["99"] == "ee" * 8
    assert shown["9F02"] == "000000001234"


def test_a_card_number_under_an_unknown_tag_is_masked_and_one_under_a_known_tag_is_not_guessed() -> (
    None
):
    objects = (
        Tlv(0xDF01, bytes.fromhex(VISA)),
        Tlv(0xDF02, f"PAN {VISA}".encode()),
        Tlv(0x9F26, bytes.fromhex(VISA)),
        Tlv(0xDF03, bytes(8)),
    )

    shown = masked(objects)

    assert [item.value for item in shown] == [
        bytes.fromhex("411111eeeeee1111"),
        b"PAN 411111******1111",
        bytes.fromhex(VISA),
        bytes(8),
    ]


def test_the_repr_of_an_object_shows_no_value() -> None:
    item = Tlv(0x70, children=(Tlv(0x5A, bytes.fromhex(VISA)),))

    assert repr(item) == "Tlv(70: Tlv(5A: 8 bytes))"
