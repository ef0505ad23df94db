"""Device to cloud: what an agent reports.

The union ``StreamData`` travels in envelopes through the outbox; the other structs are published as they are.
Required keys are strict, unknown keys are ignored, so that an older server understands a newer device.
No field of any message carries a card number, track, PIN or CVC.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

#: What decoding of bytes by msgspec raises; the last one for a few thousand nested brackets.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Minor = Annotated[int, Meta(ge=-999_999_999_999, le=999_999_999_999)]
CurrencyCode = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
ShortText = Annotated[str, Meta(max_length=200)]
LongText = Annotated[str, Meta(max_length=2000)]
Id = Annotated[str, Meta(min_length=4, max_length=64)]
DecidedBy = Literal["answer", "recall", "totals", "reader_status", "not_begun"]

# --- stream tx -------------------------------------------------------------------------------------------------


class PaymentResult(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="payment.result", omit_defaults=True
):
    """A tap session is decided. One per session, whatever happened on the way."""

    session_id: Id
    reader_id: Id
    kind: Literal["sale", "refund", "reversal"]
    outcome: Literal["approved", "declined", "cancelled", "failed"]
    amount_minor: Minor
    """What moved: the approved amount; else what was asked. Never negative: ``kind`` tells the way."""
    currency: CurrencyCode
    decided_by: DecidedBy
    """``answer``: the reader's own answer. The others: evidence that was gathered after the answer was lost."""
    explanation: LongText = ""
    """One English sentence on how the outcome was found, when it was not the plain answer."""
    command_id: str | None = None
    channel: Literal["in_person", "offline"] = "in_person"
    result_code: int | None = None
    result_text: ShortText = ""
    terminal_id: str | None = None
    merchant_number: str | None = None
    receipt_number: int | None = None
    trace_number: int | None = None
    authorization_code: str | None = None
    masked_pan: str | None = None
    card_brand: str | None = None
    entry_mode: str | None = None
    verification: str | None = None
    aid: str | None = None
    application_label: str | None = None
    reader_clock: str | None = None
    """``MMDD HHMMSS`` as the reader wrote it."""
    receipt_lines: list[str] = []
    """The customer's copy, or the only one."""
    merchant_receipt_lines: list[str] = []
    """The copy that the shop keeps, signed where a signature is asked for."""
    started_mono_ms: int = 0
    decided_mono_ms: int = 0
    cancel_asked: bool = False
    note: ShortText = ""
    reference: ShortText = ""
    """The shop's own order number, as given with the sale."""
    cashier_id: str | None = None


class CurrencySum(Struct, frozen=True):
    """``count`` approved results and their net sum (sales less refunds and reversals) in one currency."""

    currency: CurrencyCode
    count: int
    sum_minor: Minor


class DailyClosing(Struct, frozen=True, kw_only=True, tag_field="type", tag="closing"):
    """The device's own count of one day, so that a difference shows which every other layer missed."""

    day: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    first_seq: int
    last_seq: int
    sums: list[CurrencySum]
    last_hash: str


# --- stream ev -------------------------------------------------------------------------------------------------


class SessionStep(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="session.step", omit_defaults=True
):
    """A tap session moved on. Never decides money: only PaymentResult does."""

    session_id: Id
    step: Literal[
        "accepted",
        "sent",
        "waiting_for_card",
        "card_seen",
        "enter_pin",
        "authorizing",
        "remove_card",
        "reversing",
        "busy",
        "cancelling",
        "unknown",
        "recalling",
    ]
    reader_id: str | None = None
    code: int | None = None
    text: ShortText = ""
    remaining_ms: int | None = None
    """How long the reader will go on waiting, when that is known."""


class ReaderTotals(Struct, frozen=True, kw_only=True, tag_field="type", tag="reader.totals"):
    """A reader's own totals, at its end of day or when asked."""

    reader_id: Id
    closed: bool
    """True when the reader closed its day, False when it was only asked."""
    currency: CurrencyCode
    per_scheme: list[tuple[str, int, int]]
    """(scheme, count, sum in minor units)"""
    receipt_from: int | None = None
    receipt_to: int | None = None


class DeviceEvent(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="device.event", omit_defaults=True
):
    """Anything else worth keeping: a reader plugged, a quirk, a disk that is full, a clock that jumped."""

    kind: Annotated[str, Meta(pattern=r"^[a-z0-9_.]{3,60}$")]
    severity: Literal["info", "warning", "error"]
    reader_id: str | None = None
    text: LongText = ""
    facts: dict[str, str] = {}


# --- stream job ------------------------------------------------------------------------------------------------


class JobProgress(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="job.progress", omit_defaults=True
):
    """A config or firmware job moved on."""

    job_id: Id
    state: Annotated[str, Meta(max_length=40)]
    percent: int | None = None
    reader_id: str | None = None
    text: LongText = ""
    errors: dict[str, str] = {}


# --- stream res ------------------------------------------------------------------------------------------------


class CommandResult(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="command.result", omit_defaults=True
):
    """A command is over on the device. A tap's money outcome is told by PaymentResult, not here."""

    command_id: Id
    status: Literal["succeeded", "failed", "rejected", "expired", "refused", "too_late"]
    code: ShortText = ""
    """``unknown_field``, ``reader_offline``, ``lease_over``, ``expired_locally``, ``reader_busy``…"""
    text: LongText = ""
    output: dict[str, str] = {}


StreamData = (
    PaymentResult
    | DailyClosing
    | SessionStep
    | ReaderTotals
    | DeviceEvent
    | JobProgress
    | CommandResult
)

# --- not streamed ----------------------------------------------------------------------------------------------


class Presence(Struct, frozen=True, kw_only=True):
    """Retained on ``up/presence``; the last will says ``offline`` with the counters of its own connection.

    A will whose (boot, conn) is older than the newest presence seen is ignored.
    """

    v: int = 1
    state: Literal["online", "offline"]
    boot: int
    conn: int
    """Counter of connections within this boot."""
    life: Annotated[str, Meta(max_length=64)] = ""
    """Made by chance at each start of the agent: two lives of one boot are two boxes with one identity."""
    agent_version: str = ""
    ts: str = ""


class ReportedReader(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reader as the device sees it now."""

    reader_id: Id
    name: ShortText
    """The name in the device's configuration, such as ``counter-1``."""
    profile: str
    address: str
    """``tcp://host:port`` or ``serial:///dev/…``; no secret in it."""
    state: Literal["starting", "ready", "busy", "disconnected", "locked", "failing", "unidentified"]
    reason: ShortText = ""
    vendor: str | None = None
    model: str | None = None
    serial_number: str | None = None
    terminal_id: str | None = None
    software_version: str | None = None
    since_ts: str = ""
    health: dict[str, str] = {}


class OutboxLevel(Struct, frozen=True, kw_only=True):
    """How much the device still has to tell."""

    pending: int
    oldest_s: int
    """Age of the oldest row that is not acknowledged; 0 when there is none."""


class ReportedConfig(Struct, frozen=True, kw_only=True):
    """Which desired configuration is in force; drift is a difference of hashes."""

    version: int = 0
    hash: str = ""
    status: Literal["none", "applied", "rejected", "rolled_back", "applying"] = "none"
    errors: dict[str, str] = {}


class ReportedState(Struct, frozen=True, kw_only=True):
    """Retained on ``up/state``: what the device is and has, sent anew when anything in it changes."""

    v: int = 1
    ts: str
    boot: int
    agent_version: str
    accepts: list[str]
    """Message versions the device understands, such as ``cmd.v1``."""
    epoch: int
    config: ReportedConfig
    readers: list[ReportedReader]
    outbox: OutboxLevel
    hostname: str = ""
    platform: str = ""
    certificate_expires: str = ""
    clock_offset_ms: int | None = None


class Telemetry(Struct, frozen=True, kw_only=True):
    """``up/tm``: may be lost."""

    v: int = 1
    ts: str
    boot: int
    uptime_s: int
    rss_kib: int
    load_1m: float
    disk_free_mib: int
    outbox_pending: int
    readers: dict[str, dict[str, float]] = {}
    """reader id -> measured values, e.g. temperature_c, battery_percent."""


class Claim(Struct, frozen=True, kw_only=True):
    """``up/cmd/claim``: may this device run this command now? ``nonce`` is new for every claim."""

    v: int = 1
    command_id: Id
    nonce: Annotated[str, Meta(min_length=8, max_length=64)]


class SealedCard(Struct, frozen=True, kw_only=True):
    """A card as an encrypting reader gave it away; nobody before the processor can open it.

    ``format`` names the reader protocol whose layout ``data`` has; ``scheme`` the cipher: dukpt-tdes or dukpt-aes.
    """

    format: ShortText
    scheme: ShortText
    ksn: Annotated[bytes, Meta(min_length=10, max_length=12)]
    data: Annotated[bytes, Meta(max_length=8192)]
    serial_number: ShortText = ""
    masked_pan: ShortText = ""
    card_brand: ShortText = ""
    entry_mode: ShortText = ""


class AuthorizationAsk(Struct, frozen=True, kw_only=True):
    """``up/auth``: a card on an encrypting reader wants its issuer's answer. Said again until it is answered.

    The same ``tap_id`` gets the same answer however often it is asked; a session has one at a time. Nothing of this
    decides money: what the issuer approved and no ``PaymentResult`` says is approved, is taken back.
    """

    v: int = 1
    session_id: Id
    tap_id: Id
    reader_id: Id
    amount_minor: Minor
    currency: CurrencyCode
    card: SealedCard


class TimeAsk(Struct, frozen=True, kw_only=True):
    """``up/time``: what time is it? ``t0_mono_ms`` comes back unchanged."""

    v: int = 1
    t0_mono_ms: int


class LogLines(Struct, frozen=True, kw_only=True):
    """``up/log``: a piece of a live log tail, redacted on the device. May be lost.

    Each line is JSON with ``timestamp``, ``level`` and ``event``. ``seq`` counts from 1 within the command.
    """

    v: int = 1
    command_id: Id
    seq: int
    lines: list[str]
    dropped: int = 0
    """Lines that were written faster than they may be sent, before these."""
    last: bool = False


def to_jsonable(message: Struct) -> object:
    """Plain JSON values of a message, for pages and tests."""
    return msgspec.to_builtins(message)
