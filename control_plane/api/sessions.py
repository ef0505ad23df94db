"""Payments on readers: start, follow, cancel, take back."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.http.dependencies import App, WriterSlot
from control_plane.http.idempotency import OnceOnly
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.parts import Parts
from control_plane.payments import queries, sessions
from control_plane.payments.by_hand import settle_by_hand
from control_plane.payments.errors import CurrencyRefused
from control_plane.payments.lifecycle import SessionKind, StepKind
from control_plane.payments.models import SESSIONS
from control_plane.payments.timeline import session_topic
from control_plane.payments.views import SessionView, StepView
from protocols.errors import MoneyMismatch
from protocols.money import LARGEST_MINOR, Money
from protocols.session import SessionState

router = APIRouter(prefix="/v1", tags=["payments"])

#: A stream that missed an announcement, or hears none from another replica, looks again after this time.
_LOOK_AGAIN_S: Final = 2.0

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "ts_06f3k8m2q7v1x4b9c5d0e6g8h2",
    "kind": "sale",
    "state": "waiting_for_card",
    "is_final": False,
    "can_cancel": True,
    "amount_minor": 1234,
    "currency": "EUR",
    "reader_id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "reader_name": "Counter 1",
    "location_id": "loc_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "device_id": "dev-06f3k8a1b2c3d4e5f6g7h8j9k0",
    "cashier_id": "usr_06f3a0b1c2d3e4f5g6h7j8k9m0",
    "cashier_name": "Camille",
    "reference": "order 1042",
    "note": "",
    "card_timeout_s": 60,
    "state_since": "2026-11-23T09:15:04.512Z",
    "expires_at": "2026-11-23T09:15:13.101Z",
    "created_at": "2026-11-23T09:15:03.101Z",
    "claimed_at": "2026-11-23T09:15:03.140Z",
    "cancel_asked_at": None,
    "decided_at": None,
    "decided_by": None,
    "explanation": "",
    "approved_minor": None,
    "result_code": None,
    "result_text": "",
    "authorization_code": None,
    "receipt_number": None,
    "terminal_id": None,
    "card_brand": None,
    "card_masked": None,
    "entry_mode": None,
    "verification": None,
    "transaction_id": None,
    "original_session_id": None,
    "original_transaction_id": None,
    "late_result": False,
}


class PaymentSessionIn(BaseModel):
    """A payment to take on a reader."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "reader_id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
                    "amount_minor": 1234,
                    "currency": "EUR",
                    "reference": "order 1042",
                }
            ]
        },
    )

    reader_id: Annotated[str, Field(min_length=4, max_length=64)]
    amount_minor: Annotated[
        int,
        Field(
            strict=True,
            gt=0,
            le=LARGEST_MINOR,
            description="Whole minor units: 1234 is 12.34 EUR, or 1234 JPY.",
        ),
    ]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217, such as EUR.")]
    kind: Annotated[
        Literal["sale", "refund"],
        Field(
            description="A refund gives money to the card that is presented, without naming a sale; it needs "
            "`payment:refund:create`. To take one sale back, use its reversal."
        ),
    ] = "sale"
    reference: Annotated[
        str, Field(max_length=200, description="Your own order number; searchable.")
    ] = ""
    note: Annotated[str, Field(max_length=200)] = ""
    card_timeout_s: Annotated[
        int, Field(ge=5, le=300, description="How long the reader waits for the card.")
    ] = 60


class PaymentSessionOut(BaseModel):
    """A payment on a reader, as it stands."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    kind: SessionKind
    state: Annotated[
        SessionState,
        Field(
            description="`unknown` is open: the answer was lost and the device is finding out. Never charge again "
            "because of it."
        ),
    ]
    is_final: bool
    can_cancel: bool
    amount_minor: int
    currency: str
    reader_id: str
    reader_name: str
    location_id: str
    device_id: str
    cashier_id: str
    cashier_name: str
    reference: str
    note: str
    card_timeout_s: int
    state_since: datetime
    expires_at: Annotated[
        datetime, Field(description="Unless the device takes it by then, it never runs.")
    ]
    created_at: datetime
    claimed_at: datetime | None
    cancel_asked_at: datetime | None
    decided_at: datetime | None
    decided_by: Annotated[
        str | None,
        Field(
            description="`answer`, or the evidence after a lost one: `recall`, `totals`, `reader_status`, `not_begun`; "
            "`server` when no device ever had it."
        ),
    ]
    explanation: Annotated[
        str, Field(description="One sentence: why it is unknown, or how it was found out.")
    ]
    approved_minor: Annotated[int | None, Field(description="May be less than was asked.")]
    result_code: int | None
    result_text: str
    authorization_code: str | None
    receipt_number: int | None
    terminal_id: str | None
    card_brand: str | None
    card_masked: str | None
    entry_mode: str | None
    verification: str | None
    transaction_id: Annotated[str | None, Field(description="Its row in the ledger.")]
    original_session_id: str | None
    original_transaction_id: str | None
    late_result: Annotated[
        bool, Field(description="A result came that this session could not take; look at it.")
    ]


class PaymentStepOut(BaseModel):
    """One line of the timeline. ``state`` is where the session stands after it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    session_id: str
    at: datetime
    kind: StepKind
    state: SessionState
    text: str
    code: int | None
    remaining_ms: int | None
    actor_name: str


SessionId = Annotated[str, Path(max_length=64, examples=["ts_06f3k8m2q7v1x4b9c5d0e6g8h2"])]
Creator = Annotated[Caller, requires(Permission.PAYMENT_SESSION_CREATE)]
Viewer = Annotated[Caller, requires(Permission.PAYMENT_SESSION_VIEW)]
Canceller = Annotated[Caller, requires(Permission.PAYMENT_SESSION_CANCEL)]
Settler = Annotated[Caller, requires(Permission.PAYMENT_REFUND_APPROVE)]
Refunder = Annotated[Caller, requires(Permission.PAYMENT_REFUND_CREATE)]


@router.post("/sessions", status_code=201, response_model=PaymentSessionOut)
def create_session(
    wish: PaymentSessionIn, caller: Creator, once: OnceOnly, parts: App, _: WriterSlot
) -> Response:
    """Start a payment on a reader.

    409 `reader_busy` names the session that has the reader; 409 `reader_offline` and `reader_not_ready` say what to do.
    """
    start = sessions.StartSession(
        reader_id=wish.reader_id,
        amount=_money(wish.amount_minor, wish.currency),
        kind=wish.kind,
        reference=wish.reference,
        note=wish.note,
        card_timeout_s=wish.card_timeout_s,
    )
    with parts.database.connection() as db:
        return once.answer(db, caller, lambda: _out(sessions.start_session(db, caller, start)))


@router.get("/sessions")
def list_sessions(
    caller: Viewer,
    parts: App,
    page: PageOf,
    reader_id: Annotated[str | None, Query(max_length=64)] = None,
    location_id: Annotated[str | None, Query(max_length=64)] = None,
    cashier_id: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[list[SessionState] | None, Query(description="Any of these.")] = None,
) -> Page[PaymentSessionOut]:
    """Payments on readers, the newest first."""
    wanted = queries.sessions_of(
        caller.scope,
        reader_id=reader_id,
        location_id=location_id,
        cashier_id=cashier_id,
        states=state or (),
    )
    with parts.database.reading() as db:
        return page.read(
            db, wanted, [SESSIONS.c.id], make=lambda row: _out(queries.session_view(row))
        )


@router.get("/sessions/{session_id}")
def read_session(session_id: SessionId, caller: Viewer, parts: App) -> PaymentSessionOut:
    """One payment as it stands."""
    return _out(_read(parts, caller, session_id))


@router.post("/sessions/{session_id}/cancel")
def cancel_session(
    session_id: SessionId, caller: Canceller, parts: App, _: WriterSlot
) -> PaymentSessionOut:
    """Stop a payment. `cancelled`: it never runs. `cancelling`: the reader decides, and its result says who won.

    Asking again is harmless. 409 `session_decided` when it is over, `answer_lost` when nobody can stop it any more.
    """
    with parts.database.connection() as db:
        return _out(sessions.cancel_session(db, caller, session_id))


class SettleIn(BaseModel):
    """How a payment ended that no reader can tell any more."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"charged": True, "note": "Receipt 0017, 12:05"}]},
    )

    charged: bool
    note: Annotated[str, Field(max_length=300, description="What was looked at.")]


@router.post("/sessions/{session_id}/settle")
def settle_session(
    session_id: SessionId, wish: SettleIn, caller: Settler, parts: App, _: WriterSlot
) -> PaymentSessionOut:
    """Say how a payment ended whose outcome is `unknown`, as the reader's own receipts show it.

    409 `session_not_unknown` while the reader may still tell by itself, `session_decided` when it is over.
    """
    with parts.database.connection() as db:
        return _out(settle_by_hand(db, caller, session_id, charged=wish.charged, note=wish.note))


@router.post("/sessions/{session_id}/reversal", status_code=201, response_model=PaymentSessionOut)
def reverse_session(
    session_id: SessionId, caller: Refunder, once: OnceOnly, parts: App, _: WriterSlot
) -> Response:
    """Take an approved sale back, in full, on the reader that took it. The answer is a session of its own."""
    with parts.database.connection() as db:
        return once.answer(
            db, caller, lambda: _out(sessions.start_reversal(db, caller, session_id))
        )


@router.get("/sessions/{session_id}/steps")
def list_steps(session_id: SessionId, caller: Viewer, parts: App) -> list[PaymentStepOut]:
    """The whole timeline, the oldest first."""
    with parts.database.reading_connection() as db:
        queries.session(db, caller.scope, session_id)
        return [_step(step) for step in queries.steps(db, caller.scope, session_id)]


def _found(session_id: SessionId, caller: Viewer, parts: App) -> SessionView:
    """Before a stream begins, while a problem can still be answered."""
    return _read(parts, caller, session_id)


@router.get("/sessions/{session_id}/events", response_class=EventSourceResponse)
async def follow_session(
    session: Annotated[SessionView, Depends(_found)],
    caller: Viewer,
    parts: App,
    last_event_id: Annotated[
        int, Header(ge=0, description="The id of the last step seen; the stream goes on after it.")
    ] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """The timeline as it happens: an event `step` for each line, then `end` with the session, and the stream closes.

    Server-sent events; a client that comes back with `Last-Event-ID` misses nothing and sees nothing twice.
    """
    seen = last_event_id
    with parts.live.subscribe(session_topic(session.id)) as watch:
        while True:
            current, steps = await to_thread(_since, parts, caller, session.id, seen)
            for step in steps:
                seen = step.id
                yield ServerSentEvent(data=_step(step), event="step", id=str(step.id))
            if current.is_final:
                yield ServerSentEvent(data=_out(current), event="end")
                return
            if await watch.next(_LOOK_AGAIN_S) is None:
                return


def _read(parts: Parts, caller: Caller, session_id: str) -> SessionView:
    with parts.database.glance() as db:
        return queries.session(db, caller.scope, session_id)


def _since(
    parts: Parts, caller: Caller, session_id: str, seen: int
) -> tuple[SessionView, list[StepView]]:
    """One snapshot, so that the end is never told before its last step."""
    with parts.database.reading_connection() as db:
        steps = queries.steps(db, caller.scope, session_id, after=seen)
        return queries.session(db, caller.scope, session_id), steps


def _money(minor: int, currency: str) -> Money:
    try:
        return Money(minor, currency)
    except MoneyMismatch:
        raise CurrencyRefused(currency=currency) from None


def _out(view: SessionView) -> PaymentSessionOut:
    return PaymentSessionOut.model_validate(view)


def _step(view: StepView) -> PaymentStepOut:
    return PaymentStepOut.model_validate(view)
