"""Canonical form and hash of a configuration document: two documents are the same when their hashes are."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping


def canonical(document: Mapping[str, object]) -> bytes:
    """JSON with sorted keys and no blanks, UTF-8. Floats are refused with TypeError: configuration has none."""
    _refuse_floats(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def document_hash(document: Mapping[str, object]) -> str:
    """SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise TypeError("configuration holds whole numbers and text, no floats")
    if isinstance(value, dict):
        for inner in value.values():
            _refuse_floats(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_floats(inner)


class ReaderConfiguration(Struct, frozen=True, forbid_unknown_fields=True):
    """What a shop has set on one reader, by the names of its profile's settings. ``secrets``: see ``sealing``."""

    settings: dict[str, int | bool | str] = {}
    secrets: dict[str, str] = {}


class DeviceConfiguration(Struct, frozen=True):
    """The document of a device, as far as this version knows it: readers by id."""

    readers: dict[str, ReaderConfiguration] = {}


def secret_purpose(device_id: str, reader_id: str, name: str) -> str:
    """What a secret of a reader is sealed for."""
    return f"{device_id}/{reader_id}/{name}"
