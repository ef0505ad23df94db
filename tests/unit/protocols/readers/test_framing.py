"""Check codes of known frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.readers.framing import crc16_kermit


def _bit_by_bit(frame: bytes) -> int:
    """CRC-16/KERMIT straight from its definition."""
    crc = 0
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return crc


@pytest.mark.parametrize(
    ("frame", "crc"),
    [
        (b"", 0x0000),
        (b"123456789", 0x2189),
        (bytes.fromhex("060006123456BA097803"), 0xC324),
        (bytes.fromhex("06700003"), 0xF9D9),
        (bytes.fromhex("80000003"), 0x1FF5),
        (bytes.fromhex("849C0003"), 0x41C3),
    ],
)
def test_kermit_of_known_frames(frame: bytes, crc: int) -> None:
    assert crc16_kermit(frame) == crc


@given(st.binary(max_size=300))
def test_kermit_agrees_with_its_definition(frame: bytes) -> None:
    assert crc16_kermit(frame) == _bit_by_bit(frame)
