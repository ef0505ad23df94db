"""Identifiers: prefixed, sortable by time of making, safe in addresses and file names.

The only module here that reads a clock and the system's randomness, because the id of a thing is made where the
thing is born: on the device, never by the server.
"""

from __future__ import annotations

import os
import re
import time
from typing import Final
from uuid import UUID

#: Crockford's base 32, lower case: sorts like the number it writes.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_DEVICE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{3,63}")


def uuid7() -> UUID:
    """A time-ordered UUID of version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then randomness."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def new_id(prefix: str) -> str:
    """A new id such as ``ts_06f1…``: the prefix, then 26 characters that sort by time."""
    number = uuid7().int
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def new_device_id() -> str:
    """A new device id: lower-case and topic-safe, used as certificate CN, MQTT client id and topic segment."""
    return "dev-" + new_id("d")[2:]


def is_device_id(text: str) -> bool:
    """True for what may stand in a topic and a certificate name: no wildcard, no separator, 4 to 64 characters."""
    return _DEVICE.fullmatch(text) is not None
