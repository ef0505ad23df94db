"""Reads the words back out of a PDF that fpdf2 wrote, through the fonts' own tables, as a viewer's search does."""

from __future__ import annotations

import re
import zlib

_OBJECT = re.compile(rb"(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL)
_STREAM = re.compile(rb"stream\n(.*?)\nendstream", re.DOTALL)
_PAIR = re.compile(rb"<([0-9A-F]{4})> <([0-9A-F]{4,8})>", re.IGNORECASE)
_TO_UNICODE = re.compile(rb"/ToUnicode (\d+) 0 R")
_FONT_IN_USE = re.compile(rb"/(F\d+) (\d+) 0 R")
_SHOWN = re.compile(rb"/(F\d+) [\d.]+ Tf|\(((?:[^()\\]|\\.)*)\)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def pages_of(pdf: bytes) -> int:
    """How many pages it has."""
    return len(re.findall(rb"/Type /Page\b(?!s)", pdf))


def words_in(pdf: bytes) -> str:
    """All that is written, in the order in which it was drawn; what stands apart is apart."""
    objects = {int(number): body for number, body in _OBJECT.findall(pdf)}
    fonts = {
        name: _table(objects, objects[int(number)])
        for body in objects.values()
        for name, number in _FONT_IN_USE.findall(body)
    }
    texts = []
    for body in objects.values():
        content = _content(body)
        if b" Tf" not in content:
            continue
        table: dict[int, str] = {}
        for font, shown in _SHOWN.findall(content):
            if font:
                table = fonts[font]
            else:
                texts.append(_decoded(shown, table))
    return " ".join(" ".join(texts).split())


def _table(objects: dict[int, bytes], font: bytes) -> dict[int, str]:
    found = _TO_UNICODE.search(font)
    assert found is not None
    return {
        int(code, 16): bytes.fromhex(text.decode()).decode("utf-16-be")
        for code, text in _PAIR.findall(_content(objects[int(found[1])]))
    }


def _content(body: bytes) -> bytes:
    found = _STREAM.search(body)
    if found is None:
        return b""
    return zlib.decompress(found[1]) if b"/FlateDecode" in body else found[1]


def _decoded(shown: bytes, table: dict[int, str]) -> str:
    raw = re.sub(rb"\\(.)", lambda sign: _ESCAPES.get(sign[1], sign[1]), shown, flags=re.DOTALL)
    codes = [int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2)]
    return "".join(table.get(code, "") for code in codes)
