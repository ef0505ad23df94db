"""Commands to devices: issued, sent until answered, claimed by whoever may run them.

``device_command`` is the outbox: the broker edge asks ``due_commands`` what to publish. A command that can move money
runs only after ``claim_command`` granted it, in one atomic update that a cancel or the expiry may win instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import bindparam, exists, insert, select, update

from control_plane import live
from control_plane.accounts.caller import Caller
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES
from control_plane.devices.service import device_of
from control_plane.payments import queries, timeline
from control_plane.payments.errors import (
    DeviceMayNotWork,
    DeviceOffline,
    ReaderOffline,
    ReaderSuspended,
)
from control_plane.payments.lifecycle import CommandState, StepKind
from control_plane.payments.models import COMMANDS
from control_plane.payments.queries import Found
from control_plane.payments.views import CommandView
from protocols.cloud.commands import (
    CLAIMED,
    CloseReaderDay,
    Command,
    CommandBody,
    DiagnoseReader,
    FetchLogs,
    Grant,
    RebootReader,
    RenewCertificate,
    ReportNow,
    RestartAgent,
    SelfTest,
    ShowReaderText,
    TailLog,
)
from protocols.ids import new_id
from protocols.session import Facts, SessionEvent, SessionState, advance

#: The live topic that tells the broker edge to look for commands now.
WAKE_TOPIC: Final = "commands"
#: The longest lease that a claim is granted.
LEASE: Final = timedelta(seconds=2)
#: How long a command lives that moves no money.
DEFAULT_TTL: Final = timedelta(seconds=60)
#: Pauses between sending a command again, the last one repeated.
_RESEND_S: Final = (1.5, 3.0, 6.0, 12.0)

_SPEAKING: Final = sorted(state for state in DeviceState if state.may_speak)
# Prepared, because putting a statement together costs as much as running it.
_ISSUE: Final = insert(COMMANDS)
_CLAIM: Final = (
    update(COMMANDS)
    .where(
        COMMANDS.c.id == bindparam("command"),
        COMMANDS.c.state == CommandState.ISSUED,
        COMMANDS.c.expires_at > bindparam("now"),
        exists(
            select(DEVICES.c.id).where(
                DEVICES.c.id == bindparam("device"), DEVICES.c.state.in_(_SPEAKING)
            )
        ),
    )
    .values(state=CommandState.CLAIMED, next_send_at=None)
)
_CLAIMED_KINDS: Final = frozenset(str(kind.__struct_config__.tag) for kind in CLAIMED)

Refusal = Literal["expired", "cancelled", "already_claimed"]
ReaderCommand = RebootReader | DiagnoseReader | CloseReaderDay | ShowReaderText
AgentCommand = RestartAgent | ReportNow | RenewCertificate | SelfTest | TailLog | FetchLogs
#: What takes a box longer than other commands.
_TTL: Final[dict[type, timedelta]] = {
    SelfTest: timedelta(minutes=2),
    FetchLogs: timedelta(minutes=5),
    RestartAgent: timedelta(minutes=5),
}


@dataclass(frozen=True, slots=True)
class OutgoingCommand:
    """What to publish, and where."""

    device_id: str
    cell: str
    command: Command


def is_claimed_kind(kind: str) -> bool:
    """Whether commands of this kind can move money, so that a device must claim them."""
    return kind in _CLAIMED_KINDS


def issue_command(
    db: Transaction,
    *,
    merchant_id: str,
    device_id: str,
    body: CommandBody,
    issued_by: str,
    reader_id: str | None = None,
    session_id: str | None = None,
    ttl: timedelta = DEFAULT_TTL,
    command_id: str | None = None,
) -> str:
    """Promise that the device is asked until it answers or ``ttl`` is over; the id of the command."""
    now = context_of(db).clock.now()
    command_id = command_id or new_id("cmd")
    written: dict[str, Any] = msgspec.to_builtins(body)
    db.execute(
        _ISSUE,
        {
            "id": command_id,
            "merchant_id": merchant_id,
            "device_id": device_id,
            "reader_id": reader_id,
            "session_id": session_id,
            "kind": written["kind"],
            "body": written,
            "state": CommandState.ISSUED,
            "issued_by": issued_by,
            "issued_at": now,
            "expires_at": now + ttl,
            "attempts": 0,
            "next_send_at": now,
            "result_code": "",
            "result_text": "",
            "output": {},
        },
    )
    live.publish(db, WAKE_TOPIC, {"device_id": device_id}, key=device_id)
    return command_id


def command_reader(
    db: Transaction, caller: Caller, reader_id: str, body: ReaderCommand
) -> CommandView:
    """Send a command that moves no money to a reader.

    Raises NotFound, ReaderSuspended, and ReaderOffline when its device is not there to do it.
    """
    reader = queries.reader_for_payment(db, caller.scope, reader_id)
    if not reader.device_state.may_speak:
        raise ReaderSuspended(
            reader=reader.name, reader_id=reader.id, state=reader.device_state.value
        )
    if not reader.device_is_online:
        raise ReaderOffline(reader=reader.name, reader_id=reader.id)
    command_id = issue_command(
        db,
        merchant_id=reader.merchant_id,
        device_id=reader.device_id,
        body=body,
        issued_by=caller.id,
        reader_id=reader.id,
    )
    view = queries.command(db, caller.scope, command_id)
    record(
        db,
        reader.merchant_id,
        caller.actor,
        AuditTag.DEVICE_COMMAND,
        object_id=reader.device_id,
        object_name=reader.name,
        after={"command_id": command_id, **view.body},
    )
    return view


def command_device(
    db: Transaction, caller: Caller, device_id: str, body: AgentCommand
) -> CommandView:
    """Send a command to the agent itself.

    Raises NotFound, DeviceMayNotWork, and DeviceOffline when it is not there to do it.
    """
    device = device_of(db, caller.scope, device_id)
    if not device.state.may_speak:
        raise DeviceMayNotWork(device=device.name, device_id=device_id, state=device.state.value)
    if not device.is_online:
        raise DeviceOffline(device=device.name, device_id=device_id)
    command_id = issue_command(
        db,
        merchant_id=device.merchant_id,
        device_id=device_id,
        body=body,
        issued_by=caller.id,
        ttl=_TTL.get(type(body), DEFAULT_TTL),
    )
    view = queries.command(db, caller.scope, command_id)
    record(
        db,
        device.merchant_id,
        caller.actor,
        AuditTag.DEVICE_COMMAND,
        object_id=device_id,
        object_name=device.name,
        after={"command_id": command_id, **view.body},
    )
    return view


def claim_command(
    db: Transaction, device_id: str, command_id: str, nonce: str, now: datetime
) -> Grant:
    """Decide whether this device may run this command, now.

    The first nonce wins; asking again with it is granted again, with what is left of the lease. A device that was
    suspended or revoked gets nothing, whatever it asks.
    """
    row = queries.start_command(db, command_id)
    if row is None or row.device_id != device_id:
        return Grant(command_id=command_id, nonce=nonce, granted=False, reason="unknown_command")
    lease_until = min(now + LEASE, row.expires_at)
    won = changed(
        db,
        _CLAIM,
        {
            "command": command_id,
            "device": device_id,
            "now": now,
            "nonce": nonce,
            "claimed_at": now,
            "lease_until": lease_until,
        },
    )
    if won:
        if row.session_id is not None:
            _claim_session(db, row, now)
        return _granted(command_id, nonce, lease_until - now)
    if not queries.device_may_speak(db, device_id):
        return Grant(command_id=command_id, nonce=nonce, granted=False, reason="suspended")
    row = queries.start_command(db, command_id) or row
    if row.state is CommandState.CLAIMED and row.nonce == nonce and row.lease_until > now:
        return _granted(command_id, nonce, row.lease_until - now)
    return Grant(command_id=command_id, nonce=nonce, granted=False, reason=_refusal(row, nonce))


def due_commands(
    db: Transaction, now: datetime, *, limit: int = 200, cell: str | None = None
) -> list[OutgoingCommand]:
    """What must be published now. Marks it as sent; publish after the commit."""
    return _send(
        db, queries.lock_due_commands(db, now, limit=limit, device_id=None, cell=cell), now
    )


def pending_commands(
    db: Transaction, device_id: str, now: datetime, *, limit: int = 50
) -> list[OutgoingCommand]:
    """All that one device has not answered, due or not, for a device that asks by itself."""
    return _send(
        db, queries.lock_due_commands(db, now, limit=limit, device_id=device_id, cell=None), now
    )


def withdraw_command(db: Transaction, command_id: str, now: datetime) -> bool:
    """Cancel a command that nobody has claimed. True when it won: the command can never run."""
    return (
        changed(
            db,
            update(COMMANDS)
            .where(COMMANDS.c.id == command_id, COMMANDS.c.state == CommandState.ISSUED)
            .values(state=CommandState.CANCELLED, finished_at=now, next_send_at=None),
        )
        == 1
    )


def _claim_session(db: Transaction, command: Found, now: datetime) -> None:
    claimed = advance(SessionState.CREATED, SessionEvent.CLAIM, Facts(is_claimed=True))
    moved = timeline.move(
        db,
        command.session_id,
        before=SessionState.CREATED,
        after=claimed,
        at=now,
        claimed_at=now,
        last_heard_at=now,
    )
    if not moved:
        # Whoever moves a session out of created first takes its command, in the same transaction.
        raise AssertionError(f"{command.session_id} left its command behind")
    timeline.write(
        db,
        command.session_id,
        command.merchant_id,
        timeline.Line(kind=StepKind.CLAIMED, state=claimed, at=now),
    )


def _granted(command_id: str, nonce: str, left: timedelta) -> Grant:
    lease_ms = left // timedelta(milliseconds=1)
    return Grant(command_id=command_id, nonce=nonce, granted=True, lease_ms=lease_ms)


def _refusal(row: Found, nonce: str) -> Refusal:
    match row.state:
        case CommandState.CANCELLED:
            return "cancelled"
        case CommandState.ISSUED | CommandState.EXPIRED:
            return "expired"
        case CommandState.CLAIMED if row.nonce == nonce:
            return "expired"
        case _:
            return "already_claimed"


def _send(db: Transaction, rows: list[Found], now: datetime) -> list[OutgoingCommand]:
    if not rows:
        return []
    db.execute(
        update(COMMANDS)
        .where(COMMANDS.c.id == bindparam("command"))
        .values(attempts=COMMANDS.c.attempts + 1, next_send_at=bindparam("again")),
        [
            {
                "command": row.id,
                "again": now + timedelta(seconds=_RESEND_S[min(row.attempts, len(_RESEND_S) - 1)]),
            }
            for row in rows
        ],
    )
    return [OutgoingCommand(row.device_id, row.cell, _command(row, now)) for row in rows]


def _command(row: Found, now: datetime) -> Command:
    return Command(
        id=row.id,
        ttl_ms=max(1, (row.expires_at - now) // timedelta(milliseconds=1)),
        issued_at=row.issued_at.isoformat(),
        expires_at=row.expires_at.isoformat(),
        body=msgspec.convert(row.body, CommandBody),
    )
