"""How ECR17 messages travel: frames with a check byte, three-byte confirmations, and progress texts without either.

A check byte may have the value of a control byte, so frames are cut by their structure and never at such a byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from protocols.errors import MalformedMessage
from protocols.readers.framing import xor_of

SOH: Final = 0x01
STX: Final = 0x02
ETX: Final = 0x03
EOT: Final = 0x04
ACK: Final = 0x06
NAK: Final = 0x15
_LEADS: Final = frozenset((SOH, STX, ACK, NAK))
_START: Final = 0x7F
PROGRESS_LENGTH: Final = 20
#: The longest message of the sheet is a wallet request: 26 positions and 1024 characters.
LONGEST_PAYLOAD: Final = 2048


class LrcMode(StrEnum):
    """Which bytes around the payload the check byte covers; it differs by firmware."""

    STD = "std"
    """The payload alone."""
    STX = "stx"
    """STX, payload and ETX."""
    NOEXT = "noext"
    """Payload and ETX."""
    STX_NOEXT = "stx_noext"
    """STX and payload."""


_AROUND: Final = {
    LrcMode.STD: _START,
    LrcMode.STX: _START ^ STX ^ ETX,
    LrcMode.NOEXT: _START ^ ETX,
    LrcMode.STX_NOEXT: _START ^ STX,
}


@dataclass(frozen=True, slots=True)
class Application:
    """A message. ``is_sound`` is False when its check byte or one of its characters is wrong."""

    payload: bytes = field(repr=False)
    is_sound: bool = True


@dataclass(frozen=True, slots=True)
class Signal:
    """A confirmation: ACK, or NAK when ``is_ack`` is False."""

    is_ack: bool
    is_sound: bool = True


@dataclass(frozen=True, slots=True)
class ProgressText:
    """What the terminal shows its customer; nobody confirms it."""

    text: str


Frame = Application | Signal | ProgressText


def lrc(payload: bytes, mode: LrcMode) -> int:
    """The check byte of a payload, or of a confirmation's single byte."""
    return xor_of(payload) ^ _AROUND[mode]


def encode_frame(payload: bytes, mode: LrcMode) -> bytes:
    """A message in its frame. Raises MalformedMessage for a payload that cannot be cut out again."""
    if ETX in payload or not payload.isascii() or len(payload) > LONGEST_PAYLOAD:
        raise MalformedMessage("the message cannot be framed", length=len(payload))
    return b"\x02%b\x03%c" % (payload, lrc(payload, mode))


def encode_signal(mode: LrcMode, *, is_ack: bool) -> bytes:
    """An ACK or a NAK."""
    byte = ACK if is_ack else NAK
    return bytes((byte, ETX, byte ^ _AROUND[mode]))


def encode_progress(text: str) -> bytes:
    """A progress frame; the text is cut or filled to twenty characters."""
    shown = text.encode("ascii", "replace")[:PROGRESS_LENGTH].ljust(PROGRESS_LENGTH)
    return b"\x01%b\x04" % shown


class FrameStream:
    """Cuts a stream of bytes into frames."""

    def __init__(self, mode: LrcMode) -> None:
        self._mode = mode
        self._rest = b""
        self.skipped = 0
        """How many bytes belonged to no frame so far."""

    def reset(self) -> None:
        """Forget the beginning of a frame."""
        self._rest = b""

    @property
    def is_inside(self) -> bool:
        """True while a frame has begun and not ended."""
        return bool(self._rest)

    def feed(self, received: bytes) -> list[Frame]:
        """The frames that are complete now, in order."""
        pending = self._rest + received
        frames: list[Frame] = []
        at, end = 0, len(pending)
        while at < end:
            if pending[at] not in _LEADS:
                at += 1
                self.skipped += 1
                continue
            cut = self._cut(pending, at)
            if cut is None:
                break
            frame, following = cut
            if frame is None:
                self.skipped += following - at
            else:
                frames.append(frame)
            at = following
        self._rest = pending[at:]
        return frames

    def _cut(self, pending: bytes, at: int) -> tuple[Frame | None, int] | None:
        """The frame that begins here and where the next does; no frame when nothing can begin here; None: wait."""
        lead = pending[at]
        if lead == STX:
            return self._cut_application(pending, at)
        if lead == SOH:
            return _cut_progress(pending, at)
        if len(pending) - at >= 2 and pending[at + 1] != ETX:
            return None, at + 1
        if len(pending) - at < 3:
            return None
        is_sound = pending[at + 2] == lead ^ _AROUND[self._mode]
        return Signal(lead == ACK, is_sound), at + 3

    def _cut_application(self, pending: bytes, at: int) -> tuple[Frame | None, int] | None:
        etx = pending.find(ETX, at + 1, at + LONGEST_PAYLOAD + 2)
        if etx < 0:
            return (None, at + 1) if len(pending) - at > LONGEST_PAYLOAD + 1 else None
        if etx + 1 == len(pending):
            return None
        payload = pending[at + 1 : etx]
        is_sound = payload.isascii() and lrc(payload, self._mode) == pending[etx + 1]
        if not is_sound and (inner := payload.rfind(STX)) >= 0:
            # A message that was cut off, and the next one behind it.
            return None, at + 1 + inner
        return Application(payload, is_sound), etx + 2


def _cut_progress(pending: bytes, at: int) -> tuple[Frame | None, int] | None:
    text = pending[at + 1 : at + 1 + PROGRESS_LENGTH]
    last = at + 1 + PROGRESS_LENGTH
    if any(byte < 0x20 for byte in text) or (last < len(pending) and pending[last] != EOT):
        return None, at + 1
    if last >= len(pending):
        return None
    return ProgressText(text.decode("ascii", "replace").strip()), last + 1
