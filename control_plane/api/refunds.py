"""Money given back, and refunds that wait for somebody's approval."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.api.payments import FormKey, PaymentId, form_key_of
from control_plane.http.dependencies import App
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.virtual_terminal import queries
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.lifecycle import RefundReason, RefundState
from control_plane.virtual_terminal.models import REFUNDS
from control_plane.virtual_terminal.views import RefundView
from control_plane.virtual_terminal.wishes import RefundWish
from protocols.money import LARGEST_MINOR

router = APIRouter(prefix="/v1", tags=["refunds"])


class RefundLineIn(BaseModel):
    """A line of the order, by its place, and how many of it go back."""

    model_config = ConfigDict(extra="forbid")

    index: Annotated[int, Field(ge=0, lt=100)]
    quantity: Annotated[int, Field(ge=1, le=9_999)]


class RefundIn(BaseModel):
    """How much to give back: an amount, lines, or all that is left."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"amount_minor": 500, "note": "one cup was broken"}]},
    )

    amount_minor: Annotated[int | None, Field(gt=0, le=LARGEST_MINOR)] = None
    lines: Annotated[list[RefundLineIn], Field(max_length=100)] = []
    reader_id: Annotated[
        str | None,
        Field(
            max_length=64,
            description="A reader of Stripe, for cards that must be presented again (Interac); nothing for others.",
        ),
    ] = None
    reason: RefundReason = RefundReason.REQUESTED_BY_CUSTOMER
    note: Annotated[str, Field(max_length=200)] = ""


class RejectIn(BaseModel):
    """Why not."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str, Field(max_length=200)] = ""


class RefundOut(BaseModel):
    """A refund, as it stands."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    payment_id: str
    location_id: str | None
    amount_minor: int
    currency: str
    reason: RefundReason
    note: str
    lines: list[dict[str, Any]]
    state: Annotated[
        RefundState,
        Field(
            description="`awaiting_approval`: above a limit; somebody else decides. `at_reader`: `reader_id` asks "
            "for the card. `unknown`: an answer was lost; it is found out by itself. `failed` may also follow "
            "`succeeded`: then give the money back another way."
        ),
    ]
    state_since: datetime
    processor_id: str | None
    reader_id: str | None
    failure_reason: str | None
    requested_by: str
    requested_by_name: str
    decided_by: str | None
    decided_by_name: str | None
    transaction_id: str | None
    created_at: datetime


RefundId = Annotated[str, Path(max_length=64, examples=["rfd_06f3k8m2q7v1x4b9c5d0e6g8h2"])]
Refunder = Annotated[Caller, requires(Permission.PAYMENT_REFUND_CREATE)]
Approver = Annotated[Caller, requires(Permission.PAYMENT_REFUND_APPROVE)]
Viewer = Annotated[Caller, requires(Permission.PAYMENT_VIEW)]


@router.post("/payments/{payment_id}/refunds", status_code=201)
async def create_refund(
    payment_id: PaymentId,
    wish: RefundIn,
    caller: Refunder,
    parts: App,
    idempotency_key: FormKey = None,
) -> RefundOut:
    """Give money back, never more than is left. Above a limit the refund waits for approval.

    Canada's debit cards (Interac) are presented again on `reader_id`; the refund is `at_reader` until that is done.
    """
    asked = RefundWish(
        payment_id=payment_id,
        amount_minor=wish.amount_minor,
        lines=tuple(line.model_dump() for line in wish.lines),
        reader_id=wish.reader_id,
        reason=wish.reason,
        note=wish.note,
        form_key=form_key_of(idempotency_key),
    )
    return _out(await apart(parts.get(Desk).refund, caller, asked))


@router.get("/refunds")
def list_refunds(
    caller: Viewer,
    parts: App,
    page: PageOf,
    payment_id: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[list[RefundState] | None, Query(description="Any of these.")] = None,
) -> Page[RefundOut]:
    """Refunds, the newest first; `state=awaiting_approval` are those that somebody has to decide."""
    wanted = queries.refunds(caller.scope, payment_id=payment_id, states=state or ())
    with parts.database.reading() as db:
        return page.read(
            db, wanted, [REFUNDS.c.id], make=lambda row: _out(queries.refund_view(row))
        )


@router.get("/refunds/{refund_id}")
def read_refund(refund_id: RefundId, caller: Viewer, parts: App) -> RefundOut:
    """One refund as it stands."""
    with parts.database.reading_connection() as db:
        return _out(queries.refund(db, caller.scope, refund_id))


@router.post("/refunds/{refund_id}/approve")
async def approve_refund(refund_id: RefundId, caller: Approver, parts: App) -> RefundOut:
    """Let a waiting refund go. Who asked for it cannot approve it."""
    return _out(await apart(parts.get(Desk).approve_refund, caller, refund_id))


@router.post("/refunds/{refund_id}/reject")
async def reject_refund(
    refund_id: RefundId, caller: Approver, parts: App, wish: RejectIn | None = None
) -> RefundOut:
    """Say no; no money moves."""
    note = "" if wish is None else wish.note
    return _out(await apart(parts.get(Desk).reject_refund, caller, refund_id, note=note))


@router.post("/refunds/{refund_id}/cancel")
async def cancel_refund(refund_id: RefundId, caller: Refunder, parts: App) -> RefundOut:
    """Take a refund off the reader that asks for its card.

    409 `refund_authorizing` while the bank is being asked, which nobody can stop.
    """
    return _out(await apart(parts.get(Desk).cancel_refund, caller, refund_id))


@router.post("/refunds/{refund_id}/resolve")
async def resolve_refund(refund_id: RefundId, caller: Viewer, parts: App) -> RefundOut:
    """Ask Stripe now how the refund stands."""
    return _out(await apart(parts.get(Desk).resolve_refund, caller, refund_id))


def _out(view: RefundView) -> RefundOut:
    return RefundOut.model_validate(view)
