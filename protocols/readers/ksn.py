"""Key serial numbers of DUKPT (ANSI X9.24): which key of which device sealed something, and how many are left.

A TDES one has 10 bytes, its last 21 bits count; an AES one has 12 bytes, its last 32 bits count. No keys here.
"""

from __future__ import annotations

from math import comb
from typing import Final

from protocols.errors import CommandNotPossible, MalformedMessage

#: Length in bytes -> bits of the counter, and how many of them may be set (X9.24-1 A.2, X9.24-3 6.2).
_COUNTERS: Final = {10: (21, 10), 12: (32, 16)}
#: X9.24-1 A.4 and X9.24-3 B: the examples of the standards.
_EXAMPLES: Final = frozenset(
    map(bytes.fromhex, ("ffff9876543210e00000", "123456789012345600000000"))
)


def counter(ksn: bytes) -> int:
    """Which use of its key this is, from 1. Raises MalformedMessage unless it has 10 or 12 bytes."""
    return int.from_bytes(ksn, "big") & (1 << _shape(ksn)[0]) - 1


def key_name(ksn: bytes) -> bytes:
    """The same number with the counter 0: which key was loaded into which device. Raises as ``counter``."""
    return (int.from_bytes(ksn, "big") - counter(ksn)).to_bytes(len(ksn), "big")


def next_ksn(ksn: bytes) -> bytes:
    """The number of the next use; counters with too many one bits are left out, as the standard says.

    Raises CommandNotPossible when the key is used up, MalformedMessage as ``counter``.
    """
    bits, most = _shape(ksn)
    count = counter(ksn) + 1
    while count.bit_count() > most:
        # The nearest larger number with fewer bits carries out of the lowest one.
        count += count & -count
    if count >> bits:
        raise CommandNotPossible("the key of this reader is used up", uses=counter(ksn))
    return (int.from_bytes(key_name(ksn), "big") | count).to_bytes(len(ksn), "big")


def remaining(ksn: bytes) -> int:
    """How many uses are left after this one. Raises as ``counter``."""
    bits, most = _shape(ksn)
    count, left, ones = counter(ksn), 0, 0
    # Every larger number leaves this one at a zero bit that it sets; below that bit it is free.
    for bit in range(bits - 1, -1, -1):
        if count >> bit & 1:
            ones += 1
        else:
            left += sum(comb(bit, more) for more in range(max(0, most - ones)))
    return left


def is_of_test_key(ksn: bytes) -> bool:
    """True for the keys that the standards print as examples, which everybody knows. Raises as ``counter``."""
    return key_name(ksn) in _EXAMPLES


def _shape(ksn: bytes) -> tuple[int, int]:
    try:
        return _COUNTERS[len(ksn)]
    except KeyError:
        raise MalformedMessage("a key serial number has 10 or 12 bytes", length=len(ksn)) from None
