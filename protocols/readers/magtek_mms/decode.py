"""A message as JSON, for people who look at a recording. Sealed card data are told by their length, others masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.magtek_mms import codes, links, sealed
from protocols.readers.magtek_mms.message import Message, decode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Json = str | int | bool | list["Json"] | dict[str, "Json"]

FRAMINGS: Final = ("message", *links.FRAMINGS)
_PACKETS: Final = {
    links.SINGLE: "single",
    links.HEAD: "head",
    links.MIDDLE: "middle",
    links.TAIL: "tail",
    links.CANCEL: "cancel",
}
_REPORT: Final = 64
_LONGEST_SHOWN: Final = 256

_TAGS: Final[Mapping[int, str]] = {
    sealed.CONTAINER: "container",
    sealed.GENERIC: "container for generic data",
    sealed.SEALED_CONTAINER: "container for sealed data",
    sealed.SEALED: "sealed data",
    sealed.KSN: "key serial number",
    sealed.KEY_TYPE: "kind of key",
    sealed.PADDING: "padding bytes of the sealed data",
    sealed.SERIAL: "serial number of the reader",
    sealed.CARD_TYPE: "card type",
    sealed.MASKED_TRACK: "masked track 2 of the stripe",
    sealed.MASKED_CHIP_TRACK: "masked track 2 of the chip",
    0xDFDF53: "fallback",
    0xDFDF54: "key serial number of the authentication code",
    0xDFDF55: "kind of key of the authentication code",
}


def describe(recorded: bytes, *, framing: str = "message") -> dict[str, Json]:
    """One message, part by part.

    ``framing``: ``message`` (bare), ``usb_hid`` (one report, or all reports of a message one after another),
    ``ble_gatt`` (one packet, or all of a message) or ``serial`` (one frame). A packet that is only a part of a message
    is told as that, without its content.

    Raises MalformedMessage when the bytes are nothing of this protocol, CommandNotPossible for another framing.
    """
    match framing:
        case "message" | "tcp":
            return _message(recorded)
        case "usb_hid":
            return _reports(recorded)
        case "ble_gatt":
            return _packets(recorded)
        case "serial":
            link = links.SlipLink()
            return {"decoded": _message(_only(link.feed(b"\xc0" + recorded + b"\xc0")))}
        case _:
            raise CommandNotPossible(
                "MMS has no such framing", framing=framing, known=", ".join(FRAMINGS)
            )


def _reports(recorded: bytes) -> dict[str, Json]:
    if not recorded or recorded[0] not in _PACKETS:
        raise MalformedMessage("no report of this protocol", length=len(recorded))
    shown: dict[str, Json] = {"packet": _PACKETS[recorded[0]]}
    if recorded[0] == links.MIDDLE:
        shown["number"] = int.from_bytes(recorded[1:3], "big")
    if recorded[0] == links.HEAD:
        shown["total_length"] = int.from_bytes(recorded[1:5], "big")
    is_whole = recorded[0] == links.SINGLE or len(recorded) > _REPORT
    if is_whole:
        link = links.HidLink(longest=1 << 24)
        pieces = [recorded[at : at + _REPORT] for at in range(0, len(recorded), _REPORT)]
        shown["packets"] = len(pieces)
        shown["decoded"] = _message(_only([one for piece in pieces for one in link.feed(piece)]))
    return shown


def _packets(recorded: bytes) -> dict[str, Json]:
    if len(recorded) < 3:
        raise MalformedMessage("no packet of this protocol", length=len(recorded))
    shown: dict[str, Json] = {"message_counter": recorded[0], "packet_counter": recorded[1]}
    if recorded[1] == 0:
        shown["total_length"] = int.from_bytes(recorded[3:7], "big")
        events = links.BleLink(longest=1 << 24).feed(recorded)
        if events:
            shown["decoded"] = _message(_only(events))
    return shown


def _only(events: Iterable[links.LinkEvent]) -> bytes:
    arrived = [event.message for event in events if isinstance(event, links.Arrived)]
    if len(arrived) != 1:
        raise MalformedMessage("not exactly one message", messages=len(arrived))
    return arrived[0]


def _message(encoded: bytes) -> dict[str, Json]:
    message = decode_message(encoded)
    is_notification = message.kind in {0x03, codes.NOTIFICATION}
    names = codes.NOTIFICATIONS if is_notification else codes.REQUESTS
    shown: dict[str, Json] = {
        "type": f"{message.kind:02x}",
        "kind": codes.TYPES.get(message.kind, "unknown"),
        "reference": f"{message.reference:02x}",
        "id": f"{message.number:04x}",
        "name": names.get(message.number, "unknown"),
    }
    meaning: dict[str, Json] = {}
    if message.status is not None:
        shown["status"] = f"{message.first:02x}"
        shown["detail"] = f"{message.detail:06x}"
        meaning["status"] = _meaning(message)
    if message.payload is not None:
        shown["payload_length"] = len(message.payload)
        _payload(message, shown, meaning)
    if meaning:
        shown["meaning"] = meaning
    return shown


def _meaning(message: Message) -> str:
    if message.kind != codes.NOTIFICATION:
        return codes.status_text(message.first, message.detail)
    match message.number:
        case codes.PROGRESS:
            return codes.progress_text(message.first, message.detail)
        case codes.COMPLETE:
            technology = codes.TECHNOLOGIES.get(message.first, f"technology {message.first:02X}")
            return f"{technology}: {codes.end_of(message.detail)[1]}"
        case codes.DEVICE if message.first == 0:
            reason = message.detail >> 8
            return _DEVICE.get(reason & 0xFF00) or _DEVICE.get(reason) or f"{message.detail:06X}"
        case _:
            return f"{message.first:02X} {message.detail:06X}"


_DEVICE: Final[Mapping[int, str]] = {
    0x0000: "the reader has restarted",
    0x0100: "the reader restarts soon",
    0x0300: "the reader restarts because it was told to",
    0x0200: "the battery is low",
    0x0201: "the battery is empty",
    0x0202: "the battery is full",
}


def _payload(message: Message, shown: dict[str, Json], meaning: dict[str, Json]) -> None:
    if message.kind == codes.NOTIFICATION:
        objects = sealed.objects_of(message.payload or b"")
    elif message.number == codes.LOAD_FIRMWARE:
        objects = tuple(
            item if len(item.value) <= _LONGEST_SHOWN else Tlv(item.tag)
            for item in emv.parse_tlv(message.parameters)[0]
        )
    else:
        objects, consumed = emv.parse_tlv(message.parameters)
        if consumed != len(message.parameters):
            objects = ()
        objects = sealed.masked(objects)
    if objects:
        shown["tlv"] = [_branch(item, message.number) for item in objects]
    _amount(message, objects, meaning)


def _amount(message: Message, objects: Iterable[Tlv], meaning: dict[str, Json]) -> None:
    if message.number != codes.START or message.kind != codes.REQUEST:
        return
    found = next((item for item in objects if item.tag == 0x86), None)
    inside, _ = emv.parse_tlv(found.value) if found else ((), 0)
    amount, currency = emv.find(inside, 0x9F02), emv.find(inside, 0x5F2A)
    if amount and amount.value.hex().isdecimal():
        number = currency.value.hex() if currency else "?"
        meaning["amount"] = f"{int(amount.value.hex())} minor units of currency {number}"


def _branch(item: Tlv, number: int) -> dict[str, Json]:
    branch: dict[str, Json] = {"tag": f"{item.tag:02x}"}
    name = _TAGS.get(item.tag) or (emv.TAG_NAMES.get(item.tag) if item.tag > 0x9F else None)
    if name:
        branch["name"] = name
    if item.children:
        branch["children"] = [_branch(child, number) for child in item.children]
    elif item.tag in {sealed.SEALED, 0xDFDFDF37}:
        branch["sealed_length"] = len(item.value)
    else:
        branch["value"] = item.value.hex()
        if (text := _READABLE.get(item.tag)) is not None:
            branch["text"] = text(item.value)
    return branch


def _ascii(value: bytes) -> str:
    return value.decode("ascii", "replace")


_READABLE: Final[Mapping[int, Callable[[bytes], str]]] = {
    0x50: _ascii,
    sealed.MASKED_TRACK: _ascii,
    sealed.MASKED_CHIP_TRACK: _ascii,
}
