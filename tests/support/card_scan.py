"""Looks for card numbers in what a run of the tests left on disk: databases, journals, broker stores, logs, mail.

It knows the numbers that the tests use, in the forms in which they could be kept: digits, groups with spaces or dashes,
packed two digits a byte, UTF-16. Any number that passes the Luhn check would be found by chance in a large binary file.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

#: Published test numbers: of the processor, and of the terminals that are simulated.
_NUMBERS: Final = """
    4242424242424242 4000056655665556 5555555555554444 2223003122003222 5200828282828210 5105105105105100
    378282246310005 371449635398431 6011111111111117 6011000990139424 3056930009020004 36227206271667
    3566002020360505 6200000000000005 6205500000000000004 4000000000000002 4000000000009995 4000000000009987
    4000000000009979 4000000000000069 4000000000000127 4000000000000119 4000000000006975 4242424242424241
    4000000000000010 4000000000000028 4000000000000036 4000000000000044 4000000000000101 4000000000000341
    4100000000000019 4000000000004954 4000000000009235 4000000000003220 4000000000003063 4000000000003055
    4000002500003155 4000002760003184 4000003800000446 4000008400001629 4000008260003178 4000000000000259
    4000000000002685 4000000000001976 4000000000005423 4000000000005126 4000000000007726 4000000000000077
    4000000000003725 4000000000005423 4506445006931933 6280000360000978 4000002500001001 4711009900000316877
    4001007020000002 4000008260000075 4001000360000005 4000002760000008 4111111111111111 6725904411001000019
    6759649826438453
"""
CARD_NUMBERS: Final = frozenset(_NUMBERS.split())

_DIGITS: Final = re.compile(rb"[0-9](?:[ -]?[0-9]){13,40}")
_WIDE: Final = re.compile(rb"[0-9](?:\x00[0-9]){13,}")
_TEXT: Final = {number.encode() for number in CARD_NUMBERS}


def _packed(number: str) -> Iterator[bytes]:
    # 40 00 00 00 00 00 00 69 is anything, such as a counter in a log of the database.
    if number.count("0") > len(number) // 2:
        return
    # With and without the filler that an odd count of digits gets.
    for padded in {number + "F", "0" + number} if len(number) % 2 else {number}:
        yield bytes.fromhex(padded)


_PACKED: Final = re.compile(
    b"|".join(sorted(re.escape(one) for number in CARD_NUMBERS for one in _packed(number)))
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A card number in a file; shown by its last four digits."""

    path: Path
    offset: int
    last4: str
    form: str

    def __str__(self) -> str:
        return f"{self.path} at {self.offset}: … {self.last4} ({self.form})"


def scan(data: bytes | mmap.mmap, path: Path = Path()) -> Iterator[Finding]:
    """Every place where one of the known numbers stands."""
    for match in _DIGITS.finditer(data):
        digits = re.sub(rb"[ -]", b"", match[0])
        yield from (
            Finding(path, match.start(), one[-4:].decode(), "digits") for one in _within(digits)
        )
    for match in _WIDE.finditer(data):
        digits = match[0].replace(b"\x00", b"")
        yield from (
            Finding(path, match.start(), one[-4:].decode(), "UTF-16") for one in _within(digits)
        )
    for match in _PACKED.finditer(data):
        yield Finding(path, match.start(), match[0].hex().rstrip("f")[-4:], "packed")


def _within(digits: bytes) -> list[bytes]:
    return [one for one in _TEXT if one in digits]


def scan_folders(folders: Iterable[Path]) -> tuple[list[Finding], int, int]:
    """What is found in all files below these folders, how many files there were, and their bytes."""
    found: list[Finding] = []
    count = size = 0
    for path in chain.from_iterable(_files(folder) for folder in folders):
        try:
            with path.open("rb") as file:
                length = os.fstat(file.fileno()).st_size
                if length == 0:
                    continue
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    found += scan(data, path)
        except (FileNotFoundError, PermissionError):
            continue
        count, size = count + 1, size + length
    return found, count, size


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                yield path
