"""What every reader protocol offers the agent, and what the agent may ask of a reader.

A *machine* owns what to say and what to expect; it moves no bytes and knows no clock. A driver loop feeds it bytes
and the current time, sends what it hands out, and wakes it at its deadline. The same shape serves both ends: the
host machine drives a reader, the terminal machine is the simulator's half.

Two kinds of reader stand behind this one interface. A terminal authorises by itself: a ``Purchase`` ends with its own
result. An encrypting reader reads the card and hands out sealed data: it says ``OnlineWanted`` in the middle of its
``Purchase``, the driver asks a processor and gives the answer as ``Resume``, and then the ``Purchase`` ends.

A line carries a stream of bytes (``serial``, ``tcp``) or packets (``usb_hid``, ``ble_gatt``). On a packet line every
``outgoing()`` is one packet and every ``feed()`` gets one.

Times are seconds on any monotonic scale, as ``float``; the driver chooses the scale and never mixes two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from protocols.money import Money

# --- what can be asked -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Open the conversation: register with the reader, learn who it is."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the conversation politely."""


@dataclass(frozen=True, slots=True)
class AskStatus:
    """Ask how the reader is and which software it runs; harmless, may be sent whenever idle.

    Ends as ``DONE`` when it takes payments, ``BUSY`` when it does later by itself, ``FAILED`` when somebody must act.
    """


@dataclass(frozen=True, slots=True)
class Purchase:
    """Take a payment. Sent at most once per session, whatever happens afterwards."""

    amount: Money
    card_timeout_s: int | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """Give money to a card without naming the original payment."""

    amount: Money


@dataclass(frozen=True, slots=True)
class Reverse:
    """Take a payment back by the reader's own receipt number."""

    receipt_number: int
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class Preauthorize:
    """Reserve an amount."""

    amount: Money


@dataclass(frozen=True, slots=True)
class Book:
    """Book a reserved amount (``partial``: less than reserved, the rest is released)."""

    receipt_number: int
    amount: Money
    partial: bool = False


@dataclass(frozen=True, slots=True)
class CancelPreauthorization:
    """Release a reserved amount."""

    receipt_number: int
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop waiting for the customer. The running command ends with its own result, which may still be an approval."""


@dataclass(frozen=True, slots=True)
class RecallLast:
    """Ask what became of the last payment: the evidence after a lost answer. Prints nothing, moves no money.

    With ``payment`` in its ``Finished``, the outcome is that of the payment; without, that of the asking.
    """


@dataclass(frozen=True, slots=True)
class ReadTotals:
    """Ask for the turnover since the last end of day, without closing it."""


@dataclass(frozen=True, slots=True)
class EndOfDay:
    """Close the reader's day; the totals come back."""


@dataclass(frozen=True, slots=True)
class Diagnose:
    """Let the reader call its host and say whether it works."""


@dataclass(frozen=True, slots=True)
class Initialize:
    """Let the reader set itself up with its host."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart the reader; the connection is expected to drop."""


@dataclass(frozen=True, slots=True)
class ShowText:
    """Show up to eight lines for ``seconds`` (0 means until replaced)."""

    lines: tuple[str, ...]
    seconds: int = 10


@dataclass(frozen=True, slots=True)
class SetClock:
    """Set the reader's clock to this local wall time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class UpdateSoftware:
    """Let the reader fetch new software from its own server."""


@dataclass(frozen=True, slots=True)
class SoftwareFile:
    """One file of a release. ``number`` is the reader's own name for it (a file type or id, from the profile).

    ``read(offset, length)`` gives that part of it; short at the end, empty behind it, never changing.
    """

    number: int
    size: int
    sha256: bytes
    read: Callable[[int, int], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class InstallSoftware:
    """Hand new software to the reader. It ends as ``DONE`` when the reader took it in; it may restart then.

    ``TransferProgress`` tells how far it is. Never given twice by itself, because half an image may be in the reader.
    """

    files: tuple[SoftwareFile, ...]


@dataclass(frozen=True, slots=True)
class IssuerAnswer:
    """What the processor says to a card that wants to go online.

    ``response_code`` is ISO 8583 field 39, two characters, as in EMV tag 8A; ``Z3`` says that nobody could be reached.
    ``issuer_data`` are the BER-TLV objects 91, 71 and 72 for the card, one after another; empty when there are none.
    """

    approved: bool
    response_code: str
    authorization_code: str = ""
    issuer_data: bytes = field(default=b"", repr=False)
    text: str = ""


NOBODY_REACHED = IssuerAnswer(approved=False, response_code="Z3", text="nobody could be reached")


@dataclass(frozen=True, slots=True)
class Resume:
    """The answer to ``OnlineWanted``, given like ``Abort`` while the ``Purchase`` runs, and only once for each."""

    answer: IssuerAnswer


MONEY_COMMANDS = (Purchase, Refund, Reverse, Preauthorize, Book, CancelPreauthorization)
"""Commands that may move money: never sent twice by any retry rule."""

ReaderCommand = (
    Connect
    | Disconnect
    | AskStatus
    | Purchase
    | Refund
    | Reverse
    | Preauthorize
    | Book
    | CancelPreauthorization
    | Abort
    | RecallLast
    | ReadTotals
    | EndOfDay
    | Diagnose
    | Initialize
    | Restart
    | ShowText
    | SetClock
    | UpdateSoftware
    | InstallSoftware
    | Resume
)

# --- what comes back -------------------------------------------------------------------------------------------


class Step(StrEnum):
    """Where a payment stands, in words any protocol can be mapped to."""

    SENT = "sent"
    WAITING_FOR_CARD = "waiting_for_card"
    CARD_SEEN = "card_seen"
    ENTER_PIN = "enter_pin"
    AUTHORIZING = "authorizing"
    REMOVE_CARD = "remove_card"
    REVERSING = "reversing"
    BUSY = "busy"


class Outcome(StrEnum):
    """How a command ended, as far as the reader's own words allow."""

    DONE = "done"
    """A command that moves no money succeeded."""
    APPROVED = "approved"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """The reader said explicitly that it did not work; no money moved."""
    BUSY = "busy"
    """The reader refused to begin; nothing was started."""
    UNSUPPORTED = "unsupported"
    LOST = "lost"
    """No definite answer: for a money command the truth must be found by evidence."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The reader says what it is doing. ``code`` is the protocol's own number, ``text`` its meaning in English."""

    step: Step
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What may be known of a card: never a full number."""

    masked_pan: str | None = None
    """First <= 6 and last 4 digits, the rest ``*``."""
    last4: str | None = None
    brand: str | None = None
    expiry_yymm: str | None = None
    entry_mode: str | None = None
    """``contactless``, ``chip`` or ``magstripe``."""
    verification: str | None = None
    """``none``, ``signature``, ``pin_online``, ``pin_offline``…"""
    aid: str | None = None
    application_label: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """What the reader reported about one payment; everything it did not say is ``None``."""

    result_code: int | None = None
    amount: Money | None = None
    receipt_number: int | None = None
    trace_number: int | None = None
    turnover_number: int | None = None
    terminal_id: str | None = None
    merchant_number: str | None = None
    authorization_code: str | None = None
    reader_date: str | None = None
    """``MMDD`` as the reader wrote it."""
    reader_time: str | None = None
    """``HHMMSS`` as the reader wrote it, or ``HHMM`` where it tells no seconds."""
    card: CardFacts = field(default_factory=CardFacts)
    additional_text: str | None = None


@dataclass(frozen=True, slots=True)
class BrandTotal:
    """Turnover of one card scheme: ``count`` payments, ``sum`` net of reversals as the reader keeps it."""

    scheme: str
    count: int
    sum: Money


@dataclass(frozen=True, slots=True)
class Totals:
    """The reader's own totals. ``total`` is its own sum when it sent one."""

    per_scheme: tuple[BrandTotal, ...]
    total: Money | None = None
    receipt_from: int | None = None
    receipt_to: int | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the reader says it is."""

    terminal_id: str | None = None
    serial_number: str | None = None
    model: str | None = None
    software_version: str | None = None


@dataclass(frozen=True, slots=True)
class Printed:
    """A piece of a receipt that the host is to print or keep. ``kind``: merchant, customer, administration."""

    lines: tuple[str, ...]
    kind: str | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class QuirkSeen:
    """Something a reader should not send, tolerated and counted. ``detail`` holds no card data."""

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TapData:
    """A card as an encrypting reader gives it away: sealed, and never opened on this side.

    ``format`` names the reader protocol whose layout ``data`` has; ``data`` are its own objects as they came, with the
    clear ones that are sensitive left out. ``scheme``: ``dukpt-tdes`` or ``dukpt-aes`` (ANSI X9.24). ``ksn``: 10 or 12
    bytes. ``serial_number`` and ``card`` are what the reader tells in the clear, masked.
    """

    format: str
    scheme: str
    ksn: bytes
    data: bytes = field(repr=False)
    serial_number: str | None = None
    card: CardFacts = field(default_factory=CardFacts)


@dataclass(frozen=True, slots=True)
class OnlineWanted:
    """The card is read and wants its issuer's answer: give ``Resume`` before ``answer_within_s`` seconds are over.

    Without one the machine tells the reader that nobody was reached, and the purchase ends as ``DECLINED``.
    """

    tap: TapData
    answer_within_s: float


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How much of an ``InstallSoftware`` is in the reader, in bytes."""

    sent: int
    total: int


@dataclass(frozen=True, slots=True)
class Noticed:
    """The reader tells something of itself that nobody asked for. ``kind`` is one of the names below, text is English.

    ``tamper``, ``battery_low``, ``restarted``, ``restart_soon``, ``clear_card_data`` (it does not encrypt: its data
    were dropped), ``ksn_repeated``, ``firmware_installed``, ``firmware_failed``, ``firmware_current``. ``facts`` are
    masked.
    """

    kind: str
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The command is over. Exactly one per command that was begun, also when the link was lost."""

    command: ReaderCommand
    outcome: Outcome
    code: int | None = None
    """The protocol's own result number, when there is one."""
    text: str = ""
    """The meaning of ``code`` in English, or why the answer was lost."""
    payment: PaymentFacts | None = None
    totals: Totals | None = None
    identity: Identity | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    """Protocol facts worth keeping, masked. Measurements have one name in all protocols: ``battery_percent``,
    ``external_power`` and ``tamper`` (``yes``/``no``), ``temperature_c``, ``voltage_mv``, ``reader_clock``
    (``YYYYMMDD HHMMSS``)."""


@dataclass(frozen=True, slots=True)
class LateResult:
    """The reader tells the result of a payment whose command had already finished as ``LOST``, or of nobody's.

    No ``Finished`` follows from it. The agent attaches it to its own session by receipt number, amount and time.
    """

    payment: PaymentFacts
    outcome: Outcome


ReaderEvent = (
    Progress
    | Printed
    | QuirkSeen
    | OnlineWanted
    | TransferProgress
    | Noticed
    | LateResult
    | Finished
)


class ReaderMachine(Protocol):
    """One side of a conversation, without I/O.

    The driver's duty, in this order after each call: send ``outgoing()``, handle the events, wait until ``deadline()``.
    """

    def connected(self, now: float) -> Sequence[ReaderEvent]:
        """The transport is open; buffers of an earlier connection are forgotten."""
        ...

    def disconnected(self, now: float) -> Sequence[ReaderEvent]:
        """The transport is gone: a running command finishes as ``LOST``, or ``FAILED`` if provably not begun."""
        ...

    def start(self, command: ReaderCommand, now: float) -> None:
        """Begin a command. ``Abort`` and ``Resume`` may be given while another runs; neither gets a ``Finished``.

        Raises CommandNotPossible when another command runs or the protocol has no such command; nothing was sent then.
        """
        ...

    def feed(self, received: bytes, now: float) -> Sequence[ReaderEvent]:
        """Take bytes as they come, split or joined anyhow; on a packet line one packet. Never raises whatever comes."""
        ...

    def expired(self, now: float) -> Sequence[ReaderEvent]:
        """The deadline has passed: retry or give up, as the protocol says."""
        ...

    def outgoing(self) -> bytes:
        """Bytes to send now; they are handed out once. On a packet line one packet: ask until nothing comes."""
        ...

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called, or ``None``."""
        ...

    def is_idle(self) -> bool:
        """True when a new command may be started."""
        ...

    def wants_reconnect(self) -> bool:
        """True when the protocol says that the connection must be closed and opened anew."""
        ...


class TerminalMachine(Protocol):
    """The reader's side of a conversation, for simulators: the same shape, driven the same way."""

    def connected(self, now: float) -> None:
        """A host has connected."""
        ...

    def disconnected(self, now: float) -> None:
        """The host is gone; what the terminal was doing goes on as it would in a shop."""
        ...

    def feed(self, received: bytes, now: float) -> None:
        """Take bytes as they come. Never raises on anything a peer may send."""
        ...

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        ...

    def outgoing(self) -> bytes:
        """Bytes to send now; they are handed out once."""
        ...

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called, or ``None``; also counts while no host is connected."""
        ...

    def wants_disconnect(self) -> bool:
        """True once when the line is to be dropped, after ``outgoing()`` was sent."""
        ...

    def unreachable_until(self) -> float | None:
        """Until when no host may connect, because the terminal restarts."""
        ...

    def snapshot(self) -> dict[str, object]:
        """Everything that outlives a power cut, JSON-able: receipts, totals, a payment not yet confirmed."""
        ...
