"""A NEO 2 message as JSON for people: card data masked, names beside numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.idtech_neo import codes, frames, sealed
from protocols.readers.idtech_neo.frames import Frame, Line
from protocols.readers.idtech_neo.sealed import Form, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: JSON values; their shape is data, not type.
Json = Any
FRAMINGS: Final = (*frames.FRAMINGS, "frame")
_NAMES: Final[Mapping[int, str]] = {
    sealed.KSN: "key serial number",
    sealed.STRIPE: "tracks of a swipe",
    sealed.COMPLETION: "completion code",
    sealed.ENCRYPTION: "encryption",
    sealed.ERROR: "error",
    sealed.SOURCE: "source",
    sealed.SOURCE_KIND: "kind of source",
    0xDFEE1A: "wanted objects",
    0xDF60: "product type",
}
#: Answers of these commands hold a card behind an attribution byte.
_WITH_CARD: Final = frozenset({0x02, 0x03, 0x60})


def describe(recorded: bytes, *, framing: str) -> dict[str, Json]:
    """What a recorded message says. ``framing``: ``usb_hid`` for reports one after another, else the frame itself.

    A command has its check code low byte first and an answer high byte first. Raises MalformedMessage, or
    CommandNotPossible for a framing there is not.
    """
    if framing not in FRAMINGS:
        raise CommandNotPossible(
            "NEO has no such framing", framing=framing, known=", ".join(FRAMINGS)
        )
    frame = _assembled(recorded) if framing == "usb_hid" else frames.decode(recorded)
    described: dict[str, Json] = {
        "kind": "answer" if frame.is_high_first else "command",
        "command": f"{frame.command:02x}",
    }
    if frame.is_high_first:
        described["status"] = f"{frame.sub:02x}"
        described["meaning"] = codes.status_text(frame.sub)
    else:
        described["sub_command"] = f"{frame.sub:02x}"
        if name := codes.command_name(frame.command << 8 | frame.sub):
            described["name"] = name
    described["data_length"] = len(frame.data)
    described |= _content(frame)
    described["crc_order"] = "be" if frame.is_high_first else "le"
    return described


def _assembled(recorded: bytes) -> Frame:
    line = Line("usb_hid")
    for at in range(0, len(recorded), frames.REPORT_BYTES):
        for found in line.feed(recorded[at : at + frames.REPORT_BYTES]):
            if isinstance(found, Frame):
                return found
            raise MalformedMessage("these reports hold no good frame", found=found.name)
    raise MalformedMessage("these reports hold no whole frame", length=len(recorded))


def _content(frame: Frame) -> dict[str, Json]:
    """The data, masked: as they are when nothing in them can be a card, else by their objects."""
    data = frame.data
    if frame.is_high_first and frame.command in _WITH_CARD and data:
        return _card(data)
    head = 0
    if not frame.is_high_first:
        head = {0x02: 1, 0x60: 5}.get(frame.command, 0) if frame.sub != 0x12 else 2
    objects, read = emv.parse_tlv(data[head:])
    if objects and read == len(data) - head and frame.command in {0x02, 0x03, 0x04, 0x09, 0x60}:
        seen = emv.masked(objects)
        clear = data if seen == objects else data[:head] + emv.encode_tlv(seen)
        return {"data": clear.hex(), "tlv": [_branch(_item(one)) for one in seen]}
    (seen_whole,) = emv.masked((Tlv(0xDFDF01, data),))
    content: dict[str, Json] = {"data": seen_whole.value.hex()}
    text = seen_whole.value.rstrip(b"\0").decode("latin-1")
    if frame.is_high_first and text and text.isascii() and text.isprintable():
        content["text"] = text
    return content


def _card(data: bytes) -> dict[str, Json]:
    attribution = sealed.Attribution.read(data[0])
    for head in (1, 0):
        try:
            items = sealed.masked(sealed.parse(data[head:]))
        except MalformedMessage:
            continue
        described: dict[str, Json] = {
            "data": (data[:head] + sealed.encode(items)).hex(),
            "tlv": [_branch(item) for item in items],
        }
        if head and attribution is not None:
            described["attribution"] = {
                "source": attribution.source.name.lower(),
                "scheme": attribution.scheme,
                "sealed": attribution.is_sealed,
            }
        return described
    return {"data": emv.hidden(len(data)).hex()}


def _item(item: Tlv) -> Item:
    return Item(item.tag, item.value, children=tuple(map(_item, item.children)))


def _branch(item: Item) -> dict[str, Json]:
    branch: dict[str, Json] = {"tag": f"{item.tag:02x}"}
    if name := _NAMES.get(item.tag) or emv.TAG_NAMES.get(item.tag):
        branch["name"] = name
    if item.form is not Form.CLEAR:
        branch["form"] = item.form.name.lower()
    if item.children:
        branch["children"] = _branches(item.children)
    else:
        branch["value"] = item.value.hex()
    return branch


def _branches(items: Iterable[Item]) -> list[Json]:
    return [_branch(item) for item in items]
