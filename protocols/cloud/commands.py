"""Cloud to device: commands, claims and leases, acknowledgements, desired state.

A device is strict here: a command with a field or kind it does not know is rejected with ``unknown_field``, never half
understood. A command that can move money is claimed before it is run: the device asks, the server grants a lease in
one atomic update, and the device counts the lease on CLOCK_BOOTTIME from the moment it *sent* the claim.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from protocols.cloud.events import UNREADABLE, CurrencyCode, Id, ShortText
from protocols.errors import MalformedMessage

PositiveMinor = Annotated[int, Meta(gt=0, le=999_999_999_999)]


class Body(Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """What every kind of command shares: strictness."""


class StartPayment(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="payment.start",
    forbid_unknown_fields=True,
):
    """Take a payment on a reader. Claimed; never run after its lease; never run twice."""

    session_id: Id
    reader_id: Id
    amount_minor: PositiveMinor
    currency: CurrencyCode
    transaction: Literal["sale", "refund"] = "sale"
    card_timeout_s: Annotated[int, Meta(ge=5, le=300)] = 60
    reference: ShortText = ""
    note: ShortText = ""
    cashier_id: str | None = None


class CancelPayment(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="payment.cancel",
    forbid_unknown_fields=True,
):
    """Stop a payment if that is still possible. The session's own result says who won."""

    session_id: Id


class ReversePayment(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="payment.reverse",
    forbid_unknown_fields=True,
):
    """Take an approved payment back by the reader's receipt number. Claimed."""

    session_id: Id
    """The session of the reversal itself."""
    original_session_id: Id
    reader_id: Id
    receipt_number: int
    amount_minor: PositiveMinor
    currency: CurrencyCode


class RebootReader(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="reader.reboot",
    forbid_unknown_fields=True,
):
    """Restart a reader; refused while a payment runs on it."""

    reader_id: Id


class DiagnoseReader(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="reader.diagnose",
    forbid_unknown_fields=True,
):
    """Let a reader test its line to its host."""

    reader_id: Id


class CloseReaderDay(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="reader.end_of_day",
    forbid_unknown_fields=True,
):
    """End of day on a reader; its totals come back on the event stream."""

    reader_id: Id


class ShowReaderText(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="reader.show_text",
    forbid_unknown_fields=True,
):
    """Show text on a reader."""

    reader_id: Id
    lines: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(min_length=1, max_length=8)]
    seconds: Annotated[int, Meta(ge=0, le=99)] = 10


class ReleaseFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a release. ``number``: the reader's own name for it; ``path``: where on the control plane it lies.

    ``GET <path>?offset=N&length=M``, signed as every request of a device, gives that part of it.
    """

    number: Annotated[int, Meta(ge=0, le=65_535)]
    size: Annotated[int, Meta(gt=0, le=4_294_967_295)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    path: Annotated[str, Meta(pattern=r"^/v1/device/[A-Za-z0-9_./-]{1,200}$")]


class FirmwareRelease(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New software for readers of one profile, signed by the installation: see ``protocols.cloud.releases``."""

    release_id: Id
    profile: ShortText
    component: ShortText = ""
    version: Annotated[str, Meta(min_length=1, max_length=200)]
    files: Annotated[list[ReleaseFile], Meta(min_length=1, max_length=16)]
    signature: Annotated[str, Meta(max_length=200)]
    """ECDSA over P-256 with SHA-256, DER, base64."""
    certificate: Annotated[str, Meta(max_length=4096)]
    """PEM of the key that signed, made by the authority that devices know from their enrolment."""


class UpdateReader(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="reader.update",
    forbid_unknown_fields=True,
):
    """Put new software into a reader, or without a release let it fetch what its own host has.

    The command's result says whether the job was taken on; everything else is ``JobProgress`` on the job stream. The
    same job sent again changes nothing. A transfer is never begun again by itself after the agent was restarted.
    """

    job_id: Id
    reader_id: Id
    release: FirmwareRelease | None = None
    not_before_ms: Annotated[int, Meta(ge=0)] = 0
    """Unix milliseconds; payments go on until then. 0: as soon as the reader is free."""
    not_after_ms: Annotated[int, Meta(ge=0)] = 0
    """Do not begin the transfer later. 0: begin whenever it becomes possible."""
    end_of_day: bool = False
    """Close the reader's day first."""
    despite_failure: bool = False
    """Somebody wants it although an update of this reader to this version failed before."""


class RestartAgent(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="agent.restart",
    forbid_unknown_fields=True,
):
    """Let the agent exit cleanly; its service manager starts it again. Deferred while a payment runs."""


class ReportNow(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="agent.report",
    forbid_unknown_fields=True,
):
    """Publish presence, state and telemetry now; the harmless command that measures the round trip."""


class RenewCertificate(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="agent.renew_certificate",
    forbid_unknown_fields=True,
):
    """Ask for a new certificate now instead of at two thirds of the life of the present one."""


class SelfTest(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="agent.self_test",
    forbid_unknown_fields=True,
):
    """Examine the box, its line and its readers. The result's ``output`` has one entry a check: ``good: words``.

    The result fails when a check is ``bad``; a reader with a payment on it is left alone.
    """


class TailLog(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="agent.log_tail",
    forbid_unknown_fields=True,
):
    """Send the last lines of the log, and new ones as they are written, as ``LogLines``. A later one ends this one."""

    lines: Annotated[int, Meta(ge=0, le=500)] = 100
    """How many that are there already."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is sent."""
    seconds: Annotated[int, Meta(ge=0, le=900)] = 0
    """How long new lines are sent."""


class FetchLogs(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="agent.log_bundle",
    forbid_unknown_fields=True,
):
    """Send everything that helps to understand a fault, as a zip file over HTTPS (``http.BUNDLE``)."""


CommandBody = (
    StartPayment
    | CancelPayment
    | ReversePayment
    | RebootReader
    | DiagnoseReader
    | CloseReaderDay
    | ShowReaderText
    | UpdateReader
    | RestartAgent
    | ReportNow
    | RenewCertificate
    | SelfTest
    | TailLog
    | FetchLogs
)

#: Commands that can move money: they need a granted claim.
CLAIMED: Final = (StartPayment, ReversePayment)


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``dn/cmd``. ``ttl_ms`` is counted by the device from reception; ``expires_at`` is for people and logs."""

    v: int = 1
    id: Id
    ttl_ms: Annotated[int, Meta(gt=0, le=86_400_000)]
    issued_at: str
    expires_at: str
    body: CommandBody


class Grant(Struct, frozen=True, kw_only=True):
    """``dn/grant``: the answer to a claim. ``lease_ms`` counts from when the device sent the claim."""

    v: int = 1
    command_id: Id
    nonce: str
    granted: bool
    lease_ms: int = 0
    reason: Literal[
        "", "expired", "cancelled", "already_claimed", "unknown_command", "suspended"
    ] = ""


class AuthorizationAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``dn/auth``: what the processor says to a card on an encrypting reader.

    ``approved`` and ``declined`` are the issuer's. ``refused`` is ours: the session is over or unknown, or nobody takes
    such cards for this shop. ``unavailable``: the processor did not answer in time; what it may still approve is taken
    back. ``issuer_data`` are the BER-TLV objects 91, 71 and 72 for the card.
    """

    v: int = 1
    session_id: Id
    tap_id: Id
    status: Literal["approved", "declined", "refused", "unavailable"]
    response_code: Annotated[str, Meta(max_length=2)] = ""
    """ISO 8583 field 39."""
    authorization_code: ShortText = ""
    issuer_data: Annotated[bytes, Meta(max_length=1024)] = b""
    text: ShortText = ""
    """English, for people: why not."""


class Rejected(Struct, frozen=True, kw_only=True):
    """A message that was stored in quarantine and need not be sent again."""

    seq: int
    code: ShortText


class Ack(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``dn/ack``: only this releases outbox rows. ``upto`` is the end of the gapless prefix that is committed."""

    v: int = 1
    stream: str
    epoch: int
    upto: int
    also: list[int] = []
    """Sequence numbers committed beyond a gap."""
    reject: list[Rejected] = []
    resend: list[tuple[int, int]] = []
    """Ranges (from, to), both included, that the server misses although later ones arrived."""


class TimeAnswer(Struct, frozen=True, kw_only=True):
    """``dn/time``: the server's clock when it answered."""

    v: int = 1
    t0_mono_ms: int
    server_ms: int
    """Unix milliseconds."""


class DesiredConfig(Struct, frozen=True, kw_only=True):
    """``dn/cfg``, retained: what should be in force. ``hash`` is over the canonical JSON of ``document``."""

    v: int = 1
    version: int
    hash: str
    document: dict[str, Any]  # free JSON: the profile's own schema describes it
    signature: str = ""


class ServiceState(Struct, frozen=True, kw_only=True):
    """``_svc/state``, retained: the ingest of this cell is up; a new ``boot`` asks devices to state themselves anew."""

    v: int = 1
    up: bool
    boot: str
    ts: str


_encoder = msgspec.json.Encoder()
_command_decoder = msgspec.json.Decoder(Command)


class UnreadableCommand(Struct, frozen=True, kw_only=True):
    """The id of a command that could not be understood, so that it can be rejected by name."""

    id: Id


_id_decoder = msgspec.json.Decoder(UnreadableCommand)


def encode(message: Struct) -> bytes:
    """JSON bytes of any message of this contract."""
    return _encoder.encode(message)


def open_command(payload: bytes) -> Command:
    """Decode strictly. Raises MalformedMessage that names the field; ``facts['command_id']`` is set when readable."""
    try:
        return _command_decoder.decode(payload)
    except UNREADABLE as error:
        try:
            command_id = _id_decoder.decode(payload).id
        except UNREADABLE:
            command_id = ""
        raise MalformedMessage(str(error), command_id=command_id) from error
