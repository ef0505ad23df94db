"""A Concert message as JSON, for people who look at a recording. Card data of a long answer are dropped."""

from __future__ import annotations

from typing import Final

from protocols.errors import MalformedMessage
from protocols.readers.concert import messages
from protocols.readers.concert.frames import FrameStream, Message, Signal

Json = str | int | bool | list["Json"] | dict[str, "Json"]

FRAMINGS: Final = ("serial", "apdu")


def describe(recorded: bytes, *, framing: str = "serial") -> dict[str, Json]:
    """One message or control byte. ``framing`` ``apdu``: the body alone, without its frame.

    Raises MalformedMessage when the bytes are not exactly one message.
    """
    if framing == "apdu" and recorded[:1].isdigit():
        return _describe_body(recorded)
    stream = FrameStream()
    frames = stream.feed(recorded)
    if len(frames) != 1 or stream.skipped or stream.is_inside:
        raise MalformedMessage("this is not one message", length=len(recorded))
    frame = frames[0]
    if isinstance(frame, Signal):
        return {"kind": frame.name.lower()}
    if not frame.is_sound:
        raise MalformedMessage("the check byte is wrong", length=len(recorded))
    return _describe_message(frame) | {"lrc": f"{recorded[-1]:02x}"}


def _describe_message(message: Message) -> dict[str, Json]:
    return _describe_body(message.body)


def _describe_body(body: bytes) -> dict[str, Json]:
    if len(body) == messages.REQUEST_LENGTH:
        asked = messages.decode_request(body)
        return {
            "kind": "request",
            "cash_desk": asked.cash_desk,
            "amount_minor": asked.amount.minor,
            "amount": str(asked.amount),
            "answer": "long" if asked.wants_report else "short",
            "payment_mode": messages.MODES[asked.mode],
            "transaction": messages.TRANSACTIONS[asked.transaction],
            "private": asked.private,
            "delay": messages.DELAYS.get(asked.delay, asked.delay),
            "authorization": messages.AUTHORIZATIONS.get(asked.authorization, asked.authorization),
        }
    told = messages.decode_answer(body)
    _, text = messages.judged(told.result)
    described: dict[str, Json] = {
        "kind": "answer",
        "cash_desk": told.cash_desk,
        "result": told.result,
        "meaning": text,
        "amount_minor": told.amount.minor,
        "amount": str(told.amount),
        "payment_mode": messages.MODES.get(told.mode, told.mode),
        "private": told.private,
    }
    if told.had_report:
        described["report"] = "dropped: it can hold a whole card number"
    return described
