"""The last look at card data before anything leaves the agent: key serial numbers that repeat, and a net for numbers.

Decoders mask; what is caught here is a fault of theirs, or of a reader, and is told as an event that names the place,
never the number.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from agent.journal import fact, set_fact
from protocols.cloud.events import DeviceEvent
from protocols.errors import MalformedMessage
from protocols.readers import ksn as numbers
from protocols.readers.emv import redact_card_numbers

if TYPE_CHECKING:
    from agent.journal import Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KsnWatch:
    """Remembers, for each key of each reader, how far its counter came. ``warn_below``: uses left, from the profile.

    The number that repeats is either a reader that was set back or data that somebody plays again.
    """

    warn_below: int = 0

    def seen(
        self, tx: Transaction, serial: str | None, ksn: bytes, *, reader_id: str | None = None
    ) -> DeviceEvent | None:
        """Note the number of a tap, once for each tap, and return what must be told of it. Never raises for a number.

        ``reader.ksn_repeated`` (error): not above all numbers of this key before. ``reader.ksn_unreadable`` (warning).
        ``reader.ksn_remaining`` (warning): less than ``warn_below`` uses are left; told once for each key.
        """
        try:
            count, left = numbers.counter(ksn), numbers.remaining(ksn)
        except MalformedMessage as error:
            return DeviceEvent(
                kind="reader.ksn_unreadable",
                severity="warning",
                reader_id=reader_id,
                text="The reader's key serial number has an unknown length, so repeats cannot be seen.",
                facts={"length": str(error.facts.get("length", ""))},
            )
        name = f"ksn:{serial or reader_id or ''}:{numbers.key_name(ksn).hex()}"
        highest = int(fact(tx.db, name) or -1)
        facts = {"counter": str(count), "serial_number": serial or "", "remaining": str(left)}
        if count <= highest:
            return DeviceEvent(
                kind="reader.ksn_repeated",
                severity="error",
                reader_id=reader_id,
                text=(
                    f"The reader used key number {count} after {highest}. Data may have been played again, or the"
                    " reader was reset: have its key replaced."
                ),
                facts=facts | {"highest": str(highest)},
            )
        set_fact(tx, name, str(count))
        if left < self.warn_below and (
            highest < 0 or numbers.remaining(_with_counter(ksn, highest)) >= self.warn_below
        ):
            return DeviceEvent(
                kind="reader.ksn_remaining",
                severity="warning",
                reader_id=reader_id,
                text=f"The reader's key is good for {left} more payments: plan for a new one.",
                facts=facts,
            )
        return None


def _with_counter(ksn: bytes, count: int) -> bytes:
    return (int.from_bytes(numbers.key_name(ksn), "big") + count).to_bytes(len(ksn), "big")


# --- the net ---------------------------------------------------------------------------------------------------

#: Thirteen digits, perhaps grouped: most messages have none, and then nothing more is done.
_SUSPICIOUS: Final = re.compile(rb"[0-9](?:[ -]?[0-9]){12}|[0-9](?:\xc2\xa0?[0-9]){12}")
#: Fields that are no text: they may look like a card number by chance (an IMEI always does), and must stay.
_OPAQUE: Final = re.compile(
    r"(?:^|_)(?:id|hash|prev|nonce|ksn|serial|serial_number|sha256|fingerprint|signature|pem)$"
)

_encode: Final = msgspec.json.Encoder().encode


class CardNet:
    """Masks card numbers in messages that go out. ``caught`` counts them by field.

    ``take_events`` has one event for each field in the life of the process, after the first number found in it.
    """

    def __init__(self) -> None:
        self.caught: Counter[str] = Counter()
        self._untold: deque[DeviceEvent] = deque()

    def masked(self, message: T, where: str = "") -> T:
        """The same message with card numbers in its texts masked; itself when there are none.

        For structs and plain JSON values. Numbers, bytes, and fields named as ids, hashes or keys stay as they are.
        """
        if not _SUSPICIOUS.search(_encode(message)):
            return message
        masked: T = self._walk(message, where or type(message).__name__)
        return masked

    def noticed(self, where: str) -> None:
        """Count a number that somebody else masked, and tell of it."""
        self.caught[where] += 1
        if self.caught[where] == 1:
            self._untold.append(
                DeviceEvent(
                    kind="card_data.masked",
                    severity="error",
                    text="A card number stood in a text that was about to leave the device; it was masked.",
                    facts={"field": where},
                )
            )

    def take_events(self) -> list[DeviceEvent]:
        """Events that nobody was told yet; whoever takes them tells them."""
        return [self._untold.popleft() for _ in range(len(self._untold))]

    def _walk(self, value: Any, where: str) -> Any:  # any value that a message may hold
        match value:
            case str():
                clean = redact_card_numbers(value)
                if clean != value:
                    self.noticed(where)
                return clean
            case msgspec.Struct():
                changed = {
                    name: after
                    for name in value.__struct_fields__
                    if not _OPAQUE.search(name)
                    and (after := self._walk(before := getattr(value, name), f"{where}.{name}"))
                    is not before
                }
                return msgspec.structs.replace(value, **changed) if changed else value
            case dict():
                # A key that holds a number would name it in the event.
                after = {
                    self._walk(name, f"{where} (name)") if isinstance(name, str) else name: (
                        one
                        if isinstance(name, str) and _OPAQUE.search(name)
                        else self._walk(one, f"{where}.{redact_card_numbers(str(name))}")
                    )
                    for name, one in value.items()
                }
                return after if after != value else value
            case list() | tuple():
                items = [self._walk(one, where) for one in value]
                if all(after is before for after, before in zip(items, value, strict=True)):
                    return value
                return type(value)(items)
            case _:
                return value
