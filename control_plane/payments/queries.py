"""Every SELECT on sessions, their timelines and commands."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Row,
    Select,
    String,
    any_,
    bindparam,
    func,
    literal,
    select,
    text,
)

from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.db.upsert import is_postgres
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES, READERS
from control_plane.errors import NotFound
from control_plane.payments.lifecycle import CommandState, SessionKind, StepKind
from control_plane.payments.models import COMMANDS, SESSIONS, STEPS
from control_plane.payments.views import CommandView, SessionView, StepView
from protocols.session import OPEN_STATES, SessionState

#: A row whose columns the query names.
Found: TypeAlias = Row[*tuple[Any, ...]]

_SESSION_COLUMNS: Final = [
    func.coalesce(READERS.c.name, "").label("reader_name")
    if one.name == "reader_name"
    else SESSIONS.c[one.name]
    for one in fields(SessionView)
]
_SESSION_VIEWS: Final = select(*_SESSION_COLUMNS).select_from(
    SESSIONS.outerjoin(READERS, READERS.c.id == SESSIONS.c.reader_id)
)
# Prepared, because putting a statement together costs as much as running it.
_SESSION: Final = _SESSION_VIEWS.where(
    SESSIONS.c.id == bindparam("session"), SESSIONS.c.merchant_id == bindparam("merchant")
)
_READER_FOR_PAYMENT: Final = (
    select(
        READERS.c.id,
        READERS.c.name,
        READERS.c.merchant_id,
        READERS.c.location_id,
        READERS.c.device_id,
        DEVICES.c.state.label("device_state"),
        DEVICES.c.is_online,
        READERS.c.state,
        READERS.c.gone_at.is_not(None).label("is_gone"),
        READERS.c.profile,
    )
    .join_from(READERS, DEVICES, DEVICES.c.id == READERS.c.device_id)
    .where(READERS.c.id == bindparam("reader"), READERS.c.merchant_id == bindparam("merchant"))
)
_COMMAND: Final = select(COMMANDS).where(COMMANDS.c.id == bindparam("command"))
_STEP_VIEWS: Final = select(*(STEPS.c[one.name] for one in fields(StepView)))
_COMMAND_VIEWS: Final = select(*(COMMANDS.c[one.name] for one in fields(CommandView)))


_DEVICES_OF: Final = text(
    "SELECT id, device_id FROM tap_session WHERE id = ANY(string_to_array(:ids, ','))"
)


@dataclass(frozen=True, slots=True)
class ReaderForPayment:
    """A reader and its device, as far as it matters before a command is sent there."""

    id: str
    name: str
    merchant_id: str
    location_id: str
    device_id: str
    device_state: DeviceState
    device_is_online: bool
    state: str
    is_gone: bool
    profile: str


def reader_for_payment(db: Transaction, scope: Scope, reader_id: str) -> ReaderForPayment:
    """Raises NotFound for a reader that is not within the scope."""
    found = db.execute(
        _READER_FOR_PAYMENT, {"reader": reader_id, "merchant": scope.merchant_id}
    ).one_or_none()
    if found is None or not scope.covers(found.location_id):
        raise NotFound("reader", reader_id)
    return ReaderForPayment(*found)


def session(db: Transaction, scope: Scope, session_id: str) -> SessionView:
    """Raises NotFound for a session that is not within the scope."""
    found = db.execute(
        _SESSION, {"session": session_id, "merchant": scope.merchant_id}
    ).one_or_none()
    if found is None or not scope.covers(found.location_id):
        raise NotFound("payment session", session_id)
    return session_view(found)


def sessions_of(
    scope: Scope,
    *,
    reader_id: str | None = None,
    location_id: str | None = None,
    cashier_id: str | None = None,
    states: Collection[SessionState] = (),
) -> Select[*tuple[Any, ...]]:
    """Rows for ``session_view``; the id puts them in the order of their start."""
    wanted: list[ColumnElement[bool]] = scope.conditions(SESSIONS)
    if reader_id:
        wanted.append(SESSIONS.c.reader_id == reader_id)
    if location_id:
        wanted.append(SESSIONS.c.location_id == location_id)
    if cashier_id:
        wanted.append(SESSIONS.c.cashier_id == cashier_id)
    if states:
        wanted.append(SESSIONS.c.state.in_(sorted(states)))
    return _SESSION_VIEWS.where(*wanted)


def recent_sessions(
    db: Transaction,
    scope: Scope,
    *,
    reader_id: str | None = None,
    location_id: str | None = None,
    cashier_id: str | None = None,
    states: Collection[SessionState] = (),
    limit: int = 20,
) -> list[SessionView]:
    """The newest first."""
    wanted = sessions_of(
        scope,
        reader_id=reader_id,
        location_id=location_id,
        cashier_id=cashier_id,
        states=states,
    )
    rows = db.execute(wanted.order_by(SESSIONS.c.id.desc()).limit(limit))
    return [session_view(row) for row in rows]


def session_on_reader(db: Transaction, reader_id: str) -> str | None:
    """The id of the session that has the reader, if one has."""
    found = db.execute(
        select(SESSIONS.c.id).where(
            SESSIONS.c.reader_id == reader_id, SESSIONS.c.holds_reader.is_(True)
        )
    ).scalar()
    return None if found is None else str(found)


def steps(db: Transaction, scope: Scope, session_id: str, *, after: int = 0) -> list[StepView]:
    """The timeline from the first line after ``after``. The session itself must have been looked up before."""
    rows = db.execute(
        _STEP_VIEWS.where(
            STEPS.c.session_id == session_id,
            STEPS.c.merchant_id == scope.merchant_id,
            STEPS.c.id > after,
        ).order_by(STEPS.c.id)
    )
    return [StepView(**row._mapping) for row in rows]  # noqa: SLF001 - Row's public name for a mapping


def command(db: Transaction, scope: Scope, command_id: str) -> CommandView:
    """Raises NotFound for a command to a device that is not within the scope."""
    found = db.execute(commands_of(scope).where(COMMANDS.c.id == command_id)).one_or_none()
    if found is None:
        raise NotFound("command", command_id)
    return command_view(found)


def commands_of(
    scope: Scope, *, device_id: str | None = None, reader_id: str | None = None
) -> Select[*tuple[Any, ...]]:
    """Rows for ``command_view``; the id puts them in the order of their issue."""
    wanted = [*scope.conditions(COMMANDS), *scope.conditions(DEVICES)]
    if device_id:
        wanted.append(COMMANDS.c.device_id == device_id)
    if reader_id:
        wanted.append(COMMANDS.c.reader_id == reader_id)
    return _COMMAND_VIEWS.join_from(COMMANDS, DEVICES, DEVICES.c.id == COMMANDS.c.device_id).where(
        *wanted
    )


def lock_session(db: Transaction, session_id: str) -> Found:
    """The row, ours until the transaction ends. Its existence must be known."""
    return db.execute(select(SESSIONS).where(SESSIONS.c.id == session_id).with_for_update()).one()


def lock_sessions(db: Transaction, session_ids: Collection[str]) -> dict[str, Found]:
    """Those that exist, in the order of their ids so that two batches never wait for each other."""
    if not session_ids:
        return {}
    among = _among(db, session_ids)
    rows = db.execute(select(SESSIONS).where(among).order_by(SESSIONS.c.id).with_for_update())
    return {row.id: row for row in rows}


def start_command(db: Transaction, command_id: str) -> Found | None:
    """A command by its id, whosesoever it is."""
    return db.execute(_COMMAND, {"command": command_id}).one_or_none()


def lock_commands(db: Transaction, command_ids: Collection[str]) -> dict[str, Found]:
    """Those that exist, in the order of their ids."""
    if not command_ids:
        return {}
    rows = db.execute(
        select(COMMANDS)
        .where(COMMANDS.c.id.in_(sorted(set(command_ids))))
        .order_by(COMMANDS.c.id)
        .with_for_update()
    )
    return {row.id: row for row in rows}


def device_may_speak(db: Transaction, device_id: str) -> bool:
    """Whether the device is one whose word is taken."""
    state = db.execute(select(DEVICES.c.state).where(DEVICES.c.id == device_id)).scalar()
    return isinstance(state, DeviceState) and state.may_speak


def has_due_commands(db: Transaction, now: datetime) -> bool:
    """Whether anything waits to be sent; cheap enough to ask twice a second."""
    due = select(COMMANDS.c.id).where(
        COMMANDS.c.next_send_at.is_not(None), COMMANDS.c.next_send_at <= now
    )
    return db.execute(due.limit(1)).first() is not None


def has_pending_commands(db: Transaction, device_id: str, now: datetime) -> bool:
    """Whether a device has not answered something that it was, or will be, sent."""
    pending = select(COMMANDS.c.id).where(
        COMMANDS.c.device_id == device_id,
        COMMANDS.c.next_send_at.is_not(None),
        COMMANDS.c.expires_at > now,
    )
    return db.execute(pending.limit(1)).first() is not None


def lock_due_commands(
    db: Transaction, now: datetime, *, limit: int, device_id: str | None, cell: str | None
) -> list[Found]:
    """Commands to send now, with the cell of their device; what another process is sending is left out."""
    wanted = [COMMANDS.c.next_send_at.is_not(None), COMMANDS.c.expires_at > now]
    if device_id is None:
        wanted.append(COMMANDS.c.next_send_at <= now)
    else:
        wanted.append(COMMANDS.c.device_id == device_id)
    if cell is not None:
        wanted.append(DEVICES.c.cell == cell)
    rows = db.execute(
        select(COMMANDS, DEVICES.c.cell)
        .join_from(COMMANDS, DEVICES, DEVICES.c.id == COMMANDS.c.device_id)
        .where(*wanted)
        .order_by(COMMANDS.c.next_send_at, COMMANDS.c.id)
        .limit(limit)
        .with_for_update(of=COMMANDS, skip_locked=True)
    )
    return [*rows]


def was_sent(db: Transaction, session_id: str) -> bool:
    """Whether the device ever said that the reader had got the amount."""
    sent = select(STEPS.c.id).where(STEPS.c.session_id == session_id, STEPS.c.kind == StepKind.SENT)
    return db.execute(sent.limit(1)).first() is not None


def silent_sessions(db: Transaction, now: datetime, *, limit: int) -> list[Found]:
    """Claimed sessions, open and not yet unknown, with whether their device is online; the longest silent first."""
    quiet = OPEN_STATES - {SessionState.CREATED, SessionState.UNKNOWN}
    rows = db.execute(
        select(
            SESSIONS.c.id,
            SESSIONS.c.last_heard_at,
            SESSIONS.c.card_timeout_s,
            DEVICES.c.is_online,
        )
        .join_from(SESSIONS, DEVICES, DEVICES.c.id == SESSIONS.c.device_id)
        .where(
            SESSIONS.c.holds_reader.is_(True),
            SESSIONS.c.state.in_(sorted(quiet)),
            SESSIONS.c.last_heard_at < now,
        )
        .order_by(SESSIONS.c.last_heard_at)
        .limit(limit)
    )
    return [*rows]


def reversal_of(db: Transaction, session_id: str) -> Found | None:
    """A reversal of this session that has not failed, if there is one."""
    return db.execute(
        select(SESSIONS.c.id, SESSIONS.c.state).where(
            SESSIONS.c.original_session_id == session_id,
            SESSIONS.c.kind == SessionKind.REVERSAL,
            SESSIONS.c.state.in_(sorted(OPEN_STATES | {SessionState.APPROVED})),
        )
    ).first()


def taken_by(
    db: Transaction,
    merchant_id: str,
    cashier_id: str,
    currency: str,
    since: datetime,
    *,
    with_tries: bool,
) -> int:
    """Minor units that a cashier took, or may be taking, on readers since then; perhaps with tries of payments."""
    statement = select(func.coalesce(func.sum(SESSIONS.c.amount_minor), 0)).where(
        SESSIONS.c.merchant_id == merchant_id,
        SESSIONS.c.cashier_id == cashier_id,
        SESSIONS.c.currency == currency,
        SESSIONS.c.created_at >= since,
        SESSIONS.c.kind == SessionKind.SALE,
        SESSIONS.c.state.in_(sorted(OPEN_STATES | {SessionState.APPROVED})),
    )
    if not with_tries:
        statement = statement.where(SESSIONS.c.payment_id.is_(None))
    return int(db.execute(statement).scalar_one())


def devices_of(db: Transaction, session_ids: Collection[str]) -> dict[str, str]:
    """Which device each of these sessions belongs to; those that are not known here are left out."""
    if not session_ids:
        return {}
    if is_postgres(db):
        # Ids hold no comma; one text is much cheaper for the driver than an array.
        rows = db.execute(_DEVICES_OF, {"ids": ",".join(session_ids)})
    else:
        among = _among(db, session_ids)
        rows = db.execute(select(SESSIONS.c.id, SESSIONS.c.device_id).where(among))
    return {row.id: row.device_id for row in rows}


def originals_of(db: Transaction, session_ids: Collection[str]) -> dict[str, str]:
    """For refunds and reversals: session id -> the ledger row of the sale that they belong to."""
    if not session_ids:
        return {}
    rows = db.execute(
        select(SESSIONS.c.id, SESSIONS.c.original_transaction_id).where(
            SESSIONS.c.id.in_(sorted(set(session_ids))),
            SESSIONS.c.original_transaction_id.is_not(None),
        )
    )
    return {row.id: row.original_transaction_id for row in rows}


def has_overdue_commands(db: Transaction, now: datetime) -> bool:
    """Whether a command has expired that nobody has ended yet."""
    overdue = select(COMMANDS.c.id).where(
        COMMANDS.c.state == CommandState.ISSUED, COMMANDS.c.expires_at <= now
    )
    return db.execute(overdue.limit(1)).first() is not None


def expired_commands(db: Transaction, now: datetime, *, limit: int) -> list[Found]:
    """Commands that nobody answered in time, locked."""
    rows = db.execute(
        select(
            COMMANDS.c.id,
            COMMANDS.c.session_id,
            COMMANDS.c.kind,
            COMMANDS.c.merchant_id,
            COMMANDS.c.device_id,
            COMMANDS.c.reader_id,
        )
        .where(COMMANDS.c.state == CommandState.ISSUED, COMMANDS.c.expires_at <= now)
        .order_by(COMMANDS.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [*rows]


def session_view(row: Found) -> SessionView:
    """A row of ``sessions_of``."""
    return SessionView(**row._mapping)  # noqa: SLF001 - Row's public name for a mapping


def command_view(row: Found) -> CommandView:
    """A row of ``commands_of``."""
    return CommandView(**row._mapping)  # noqa: SLF001


def _among(db: Transaction, session_ids: Collection[str]) -> ColumnElement[bool]:
    ids = sorted(set(session_ids))
    if is_postgres(db):
        # One parameter whatever the number: a thousand of them cost more than the query.
        return SESSIONS.c.id == any_(literal(ids, ARRAY(String)))
    return SESSIONS.c.id.in_(ids)
