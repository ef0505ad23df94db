"""An ECR17 frame as JSON, for people who look at a recording. Card numbers are masked."""

from __future__ import annotations

from typing import Final

from protocols.errors import MalformedMessage
from protocols.readers.ecr17 import codes, messages
from protocols.readers.ecr17.frames import (
    Application,
    Frame,
    FrameStream,
    LrcMode,
    ProgressText,
    Signal,
)

Json = str | int | bool | list["Json"] | dict[str, "Json"]

FRAMINGS: Final = ("tcp", "serial", "apdu")
_BARE: Final = "apdu"


def describe(recorded: bytes, *, framing: str = "tcp") -> dict[str, Json]:
    """One frame, field by field; the check byte tells the ``lrc_mode``.

    ``framing``: ``tcp`` or ``serial``, which are framed alike; ``apdu`` for a payload alone. Raises MalformedMessage
    when the bytes are not exactly one frame whose check byte fits a mode.
    """
    if framing == _BARE and recorded[:1].isdigit():
        return _describe_payload(recorded)
    frame, modes = _cut(recorded)
    described: dict[str, Json] = {}
    match frame:
        case ProgressText(text):
            return {"kind": "progress", "text": text, "step": codes.step_of(text).value}
        case Signal(is_ack):
            described = {"kind": "ack" if is_ack else "nak"}
        case Application(payload):
            described = _describe_payload(payload)
    return described | {"lrc": f"{recorded[-1]:02x}", "lrc_mode": modes}


def _cut(recorded: bytes) -> tuple[Frame, str]:
    fits: list[LrcMode] = []
    found: Frame | None = None
    for mode in LrcMode:
        stream = FrameStream(mode)
        frames = stream.feed(recorded)
        if len(frames) != 1 or stream.skipped or stream.is_inside:
            continue
        if isinstance(frames[0], ProgressText) or frames[0].is_sound:
            found = frames[0]
            fits.append(mode)
    if found is None:
        raise MalformedMessage(
            "this is not one frame with a right check byte", length=len(recorded)
        )
    return found, ", ".join(fits)


def _describe_payload(payload: bytes) -> dict[str, Json]:
    message = messages.decode_message(payload)
    described: dict[str, Json] = {
        "kind": "request" if message.is_request else "response",
        "code": message.code,
        "name": (codes.REQUESTS if message.is_request else codes.RESPONSES)[message.code],
        "terminal_id": message.terminal_id,
        "length": len(payload),
        "fields": dict(message.values),
    }
    meaning: dict[str, Json] = {}
    if message.result:
        meaning["result"] = codes.RESULTS.get(message.result, (None, "unknown"))[1]
    if entry := codes.ENTRY_MODES.get(message.values.get("entry", "")):
        meaning["entry"] = entry
    if message.code == "s" and not message.is_request:
        status = message.number("status")
        meaning["status"] = codes.STATUSES.get(-1 if status is None else status, ("", "unknown"))[1]
        meaning["releases"] = list(messages.releases(message))
    if message.code == "S" and not message.is_request:
        meaning["lines"] = list(messages.printed_lines(message.values.get("receipt", "")))
    return described | ({"meaning": meaning} if meaning else {})
