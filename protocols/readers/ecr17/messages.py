"""Every request and response of ECR17, as layouts of fixed positions.

A layout is written as the sheet counts, from position 11 on: ``name:8`` digits or letters with zeros before them;
``name:8<`` and ``name:8>`` text with blanks behind or before; ``name:19*`` a card number; ``=000`` just that; ``name:``
all the rest.
Positions 1 to 8 are the terminal id, 9 is ``0``, 10 the code.

Decoding masks card numbers and is lenient about length: positions that did not come are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage
from protocols.readers import emv
from protocols.readers.ecr17 import codes

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY_TERMINAL: Final = "00000000"
_HEAD: Final = 10
RECEIPT_END: Final = "\x1b"
#: Payment results, which say that money moved or did not.
RESULTS: Final = frozenset("EVeicv")
LARGEST_AMOUNT: Final = 99_999_999


@dataclass(frozen=True, slots=True)
class Slot:
    """One field. ``kind``: ``0`` digits, ``<`` or ``>`` text, ``*`` card number, ``=`` a constant: its ``name``."""

    name: str
    length: int | None
    kind: str

    def encode(self, value: str) -> str:
        """The field as it is sent. Raises MalformedMessage for a value that does not fit."""
        if self.kind == "=":
            return self.name
        if self.length is None:
            return value
        fits = len(value) <= self.length and (self.kind != "0" or value.isalnum() or not value)
        if not fits or not value.isascii():
            raise MalformedMessage("a field cannot hold this", name=self.name, length=len(value))
        if self.kind == "<":
            return value.ljust(self.length)
        return value.rjust(self.length, " " if self.kind == ">" else "0")

    def decode(self, written: str) -> str:
        """The value, masked where it may hold a card number."""
        if self.kind == "*":
            return emv.mask_pan(written.strip().lstrip("0"))
        if self.kind in "<>":
            return emv.redact_card_numbers(written.strip())
        return written if self.length is not None else emv.redact_card_numbers(written)


def layout(*fields: str) -> tuple[Slot, ...]:
    """Slots from their short texts."""
    return tuple(_slot(text) for text in " ".join(fields).split())


def _slot(text: str) -> Slot:
    if text.startswith("="):
        return Slot(text[1:], len(text) - 1, "=")
    name, _, length = text.partition(":")
    kind = length[-1:] if length[-1:] in {"<", ">", "*"} else "0"
    return Slot(name, int(length.rstrip("<>*")) if length else None, kind)


_PAYMENT: Final = layout("register:8 tags:1 =00 card_in:1 card_type:1 amount:8 text:128> =00000000")
_LATER: Final = layout("register:8 tags:1 =0000 amount:8 text:128> preauthorization:9 =00000000")
REQUESTS: Final[Mapping[str, tuple[Slot, ...]]] = {
    "s": (),
    "P": _PAYMENT,
    "X": _PAYMENT,
    "p": _PAYMENT,
    "i": _LATER,
    "c": _LATER,
    "S": layout("register:8 stan:6 tags:1 =0"),
    "H": layout("register:8 tags:1 =000 card_type:1 =0000000000000000"),
    "T": layout("register:8 tags:1 =0000000"),
    "C": layout("register:8 tags:1 =0000000"),
    "G": layout("register:8 tags:1 =000"),
    "E": layout("to_till:1"),
    "R": layout("to_till:1 ticket:1 =0000000000"),
    "U": layout("=000000 =62 tag:8< =0 map:4 =00000 content:"),
    "K": layout("register:8 =0000 length:4 xml:"),
}

_ENDED: Final = "card_type:1 acquirer:11< stan:6 online:6 action:3"
_OK: Final = f"result:2 pan:19* entry:3 authorization:6 time:7 {_ENDED}"
_KO: Final = f"result:2 reason:24< =00000000000 {_ENDED}"
_EXCHANGE: Final = (
    "amount:8 exchanged:1 rate:8 exchange_currency:3 exchange_amount:12 decimals:1 =0000000000"
)
_PREAUTHORIZED: Final = "acquirer:11< stan:6 online:6"
_INCREASED: Final = "acquirer:11< authorization:6 stan:6 online:6 time:7 action:3"
#: Code to the layouts of a success and of a failure. That of a failed increase is not documented: its text is read
#: where the number would be.
RESPONSES: Final[Mapping[str, tuple[tuple[Slot, ...], tuple[Slot, ...]]]] = {
    "E": (layout(_OK, "amount:8 =0000000000"), layout(_KO, "amount:8 =0000000000")),
    "V": (layout(_OK, _EXCHANGE), layout(_KO, _EXCHANGE)),
    "c": (layout(_OK), layout(_KO)),
    "v": (layout(_OK, _EXCHANGE), layout(_KO, _EXCHANGE)),
    "e": (
        layout(
            "result:2 pan:19* entry:3 authorization:6 amount:8 preauthorization:9 action:3 time:7",
            "=0000",
            _PREAUTHORIZED,
        ),
        layout(
            "result:2 reason:24< action:3 =00000000 card_type:1 =00000000000000000000000",
            _PREAUTHORIZED,
        ),
    ),
    "i": (
        layout("result:2 pan:19* entry:3", _INCREASED),
        layout("result:2 reason:22<", _INCREASED),
    ),
    "s": (layout("=0000000000 clock:10 status:1 release:"),) * 2,
    "T": (layout("result:2 total:16 =000000"), layout("result:2 reason:19< action:3")),
    "C": (
        layout("result:2 total:16 host_total:16"),
        layout("result:2 reason:19< action:3"),
    ),
    "S": (layout("receipt:"),) * 2,
    "K": (layout("result:2 =00 more:1 number:3 =0000 length:4 xml:"),) * 2,
    "U": (layout("=000000 length:3 content:"),) * 2,
}
#: Codes whose answer has a result in positions 11 and 12.
_WITH_RESULT: Final = RESULTS | frozenset("TCK")
#: How long a result is by what was asked, and for what was asked otherwise.
RESULT_LENGTHS: Final[Mapping[str, int]] = {"P": 71, "H": 71, "S": 74, "X": 92}


@dataclass(frozen=True, slots=True)
class Message:
    """One request or response. ``values`` hold no clear card number after decoding."""

    code: str
    terminal_id: str
    values: Mapping[str, str] = field(default_factory=dict)
    is_request: bool = False

    @property
    def result(self) -> str:
        """``00`` for success; empty for a message without a result."""
        return self.values.get("result", "")

    def text(self, name: str) -> str | None:
        """A value that says something: None for blanks and for zeros alone."""
        value = self.values.get(name, "").strip()
        return value if value.strip("0") else None

    def number(self, name: str) -> int | None:
        """A value of digits; None when it did not come or is no number."""
        value = self.values.get(name, "")
        return int(value) if value.isascii() and value.isdecimal() else None


def request(code: str, terminal_id: str = ANY_TERMINAL, **values: str | int) -> bytes:
    """A request. Raises MalformedMessage for a value that does not fit or has no place."""
    return _encode(code, terminal_id, REQUESTS[code], values)


def response(code: str, terminal_id: str, *, size: int | None = None, **values: str | int) -> bytes:
    """A response, cut off at ``size`` where a result ends early. Raises MalformedMessage as ``request``."""
    is_ok = values.get("result", codes.OK) == codes.OK
    return _encode(code, terminal_id, RESPONSES[code][0 if is_ok else 1], values)[:size]


def decode_request(payload: bytes) -> Message:
    """What a till asks. Raises MalformedMessage for anything shorter than its layout, or an unknown code."""
    written, code, terminal_id = _head(payload)
    slots = REQUESTS.get(code)
    if slots is None:
        raise MalformedMessage("no such request", code=code)
    fixed = sum(slot.length or 0 for slot in slots)
    if len(written) < _HEAD + fixed:
        raise MalformedMessage("the request is cut off", code=code, length=len(written))
    return Message(code, terminal_id, _decode(slots, written), is_request=True)


def decode_response(payload: bytes) -> Message:
    """What a terminal says. Raises MalformedMessage for an unknown code, or a result that did not come."""
    written, code, terminal_id = _head(payload)
    layouts = RESPONSES.get(code)
    if layouts is None:
        raise MalformedMessage("no such response", code=code)
    result = written[_HEAD : _HEAD + 2]
    if code in _WITH_RESULT and not (len(result) == 2 and result.isdecimal()):
        raise MalformedMessage("the response has no result", code=code, length=len(written))
    is_ok = code not in _WITH_RESULT or result == codes.OK
    values = _decode(layouts[0 if is_ok else 1], written)
    if code == "U":
        values["content"] = values.get("content", "")[: int(_digits(values.get("length")) or 0)]
    return Message(code, terminal_id, values)


def decode_message(payload: bytes) -> Message:
    """Either, where nobody knows who sent it: several codes mean one thing asked and another answered."""
    _, code, _ = _head(payload)
    return decode_request(payload) if _looks_asked(code, payload) else decode_response(payload)


def _looks_asked(code: str, payload: bytes) -> bool:
    if code not in RESPONSES or code not in REQUESTS:
        return code in REQUESTS
    if code == "U":
        return payload[16:24] == b"62DF8D01"
    if code == "K":
        return b"<ecrres" not in payload
    fixed = _HEAD + sum(slot.length or 0 for slot in REQUESTS[code])
    return len(payload) == fixed and (code in "pic" or payload.isalnum())


def _head(payload: bytes) -> tuple[str, str, str]:
    try:
        written = payload.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedMessage("a message is ASCII", offset=error.start) from None
    if len(written) < _HEAD:
        raise MalformedMessage("a message has at least ten positions", length=len(written))
    return written, written[_HEAD - 1], written[:8]


def _encode(
    code: str, terminal_id: str, slots: tuple[Slot, ...], values: Mapping[str, str | int]
) -> bytes:
    unknown = values.keys() - {slot.name for slot in slots if slot.kind != "="}
    if unknown or len(terminal_id) != 8 or not terminal_id.isdecimal():
        raise MalformedMessage(
            "the message has no place for this", names=", ".join(sorted(unknown))
        )
    written = "".join(slot.encode(str(values.get(slot.name, ""))) for slot in slots)
    return f"{terminal_id}0{code}{written}".encode("ascii")


def _decode(slots: tuple[Slot, ...], written: str) -> dict[str, str]:
    values: dict[str, str] = {}
    at, end = _HEAD, len(written)
    for slot in slots:
        if at >= end:
            break
        following = end if slot.length is None else at + slot.length
        if slot.kind != "=" and following <= end:
            values[slot.name] = slot.decode(written[at:following])
        at = following
    return values


def _digits(value: str | None) -> str:
    return value if value and value.isascii() and value.isdecimal() else ""


# --- values ----------------------------------------------------------------------------------------------------


def releases(message: Message) -> tuple[str, ...]:
    """The software release of a status: names of eight characters each."""
    written = message.values.get("release", "")
    parts = (written[at : at + 8].strip() for at in range(0, len(written), 8))
    return tuple(part for part in parts if part)


def clock(message: Message) -> tuple[date, str] | None:
    """Date and ``HHMM`` that the terminal's clock shows (DDMMYYhhmm); None when it shows no real moment."""
    written = _digits(message.values.get("clock"))
    day, month, year, time = written[:2], written[2:4], written[4:6], written[6:]
    if len(written) != 10 or not _is_time(time):
        return None
    try:
        return date(2000 + int(year), int(month), int(day)), time
    except ValueError:
        return None


def host_time(message: Message, today: date | None) -> tuple[str, str] | None:
    """``MMDD`` and ``HHMM`` of a result (DDDHHMM), which tells the day of the year and not the year.

    ``today`` is what the terminal's own clock shows; a day that is to come was one of last year. None without it, or
    when the field holds no real moment.
    """
    written = _digits(message.values.get("time"))
    if today is None or len(written) != 7 or not _is_time(written[3:]):
        return None
    number = int(written[:3])
    # The terminal's clock may be a little behind its host's.
    year = today.year - (date(today.year, 1, 1) + timedelta(number - 1) > today + timedelta(1))
    day = date(year, 1, 1) + timedelta(number - 1)
    if not number or day.year != year:
        return None
    return day.strftime("%m%d"), written[3:]


def _is_time(written: str) -> bool:
    return len(written) == 4 and int(written[:2]) < 24 and int(written[2:]) < 60


def printed_lines(written: str) -> tuple[str, ...]:
    """Lines of a receipt: 7D and its like begin a new one, in another format. Their marks are taken out."""
    for mark in "\x7f\x7e\x7b\x7c\x5e":
        written = written.replace(mark, "\x7d")
    return tuple(line.rstrip() for line in written.replace(RECEIPT_END, "").split("\x7d"))
