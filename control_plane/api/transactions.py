"""The ledger, for programs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.errors import NotFound
from control_plane.http.dependencies import App, ReadDb
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.transactions import queries
from control_plane.transactions.models import (
    TRANSACTIONS,
    Kind,
    Method,
    SaleChannel,
    Status,
)
from control_plane.transactions.queries import TransactionFilter
from control_plane.virtual_terminal.exporting import csv_of
from control_plane.virtual_terminal.search import widened

router = APIRouter(prefix="/v1", tags=["transactions"])

Viewer = Annotated[Caller, requires(Permission.TRANSACTION_VIEW)]
Exporter = Annotated[Caller, requires(Permission.TRANSACTION_EXPORT)]

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "tx_06f3k8m2r4s6t8v0w2x4y6z8a0",
    "location_id": "loc_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "device_id": "dev-06f3k8a1b2c3d4e5f6g7h8j9k0",
    "reader_id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "session_id": "ts_06f3k8m2r4s6t8v0w2x4y6z8a0",
    "payment_id": None,
    "cashier_id": "usr_06f3a0b1c2d3e4f5g6h7j8k9m0",
    "customer_id": None,
    "kind": "sale",
    "status": "approved",
    "channel": "in_person",
    "method": "card",
    "amount_minor": 1234,
    "currency": "EUR",
    "settlement_amount_minor": None,
    "settlement_currency": None,
    "settlement_rate": None,
    "fee_minor": None,
    "original_id": None,
    "source": "reader",
    "external_id": "ts_06f3k8m2r4s6t8v0w2x4y6z8a0",
    "card_brand": "Visa",
    "card_last4": "0119",
    "card_masked": "476173******0119",
    "entry_mode": "contactless",
    "verification": None,
    "authorization_code": "087612",
    "receipt_number": 17,
    "trace_number": 204,
    "terminal_id": "52500001",
    "merchant_number": None,
    "result_code": 0,
    "result_text": "approved",
    "reference": "order 1042",
    "note": None,
    "occurred_at": "2026-11-23T09:15:03.101Z",
    "received_at": "2026-11-23T09:15:03.190Z",
    "decided_by": "answer",
    "explanation": None,
}


class TransactionOut(BaseModel):
    """A row of the ledger. The amount is never negative; ``kind`` tells which way it went."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    location_id: str | None
    device_id: str | None
    reader_id: str | None
    session_id: str | None
    payment_id: Annotated[str | None, Field(description="Its payment, when a processor took it.")]
    cashier_id: str | None
    customer_id: str | None
    kind: Kind
    status: Status
    channel: SaleChannel
    method: Method
    amount_minor: int = Field(description="Whole minor units of the currency.")
    currency: str
    settlement_amount_minor: int | None
    settlement_currency: str | None
    settlement_rate: Decimal | None
    fee_minor: int | None
    original_id: str | None = Field(description="The sale that this belongs to.")
    source: str
    external_id: str
    card_brand: str | None
    card_last4: str | None
    card_masked: str | None
    entry_mode: str | None
    verification: str | None
    authorization_code: str | None
    receipt_number: int | None
    trace_number: int | None
    terminal_id: str | None
    merchant_number: str | None
    result_code: int | None
    result_text: str | None
    reference: str | None
    note: str | None
    occurred_at: datetime
    received_at: datetime
    decided_by: str | None
    explanation: str | None


class TransactionDetails(TransactionOut):
    """A row with its receipt, and the sale, refunds and reversals that belong to it."""

    receipt: str | None
    merchant_receipt: str | None
    aid: str | None
    application_label: str | None
    epoch: int | None
    seq: int | None
    message_hash: str | None
    related: list[TransactionOut]


class TotalOut(BaseModel):
    """Approved money of one currency: what came in less what went back."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"examples": [{"currency": "EUR", "count": 2, "net_minor": 2468}]},
    )

    currency: str
    count: int
    net_minor: int


def wanted_of(
    q: Annotated[
        str,
        Query(
            max_length=100,
            description="An id, code or number exactly; part of a reference or note; a customer; "
            "the beginning of an own field.",
        ),
    ] = "",
    since: Annotated[AwareDatetime | None, Query(description="Included.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Not included.")] = None,
    status: Annotated[list[Status], Query()] = [],  # noqa: B006 - FastAPI copies defaults
    kind: Annotated[list[Kind], Query()] = [],  # noqa: B006
    channel: Annotated[list[SaleChannel], Query()] = [],  # noqa: B006
    method: Annotated[list[Method], Query()] = [],  # noqa: B006
    reader_id: Annotated[str | None, Query(max_length=64)] = None,
    location_id: Annotated[str | None, Query(max_length=64)] = None,
    cashier_id: Annotated[str | None, Query(max_length=64)] = None,
    device_id: Annotated[str | None, Query(max_length=64)] = None,
    customer_id: Annotated[str | None, Query(max_length=64)] = None,
    session_id: Annotated[str | None, Query(max_length=64)] = None,
    currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$")] = None,
    amount_from: Annotated[int | None, Query(ge=0, le=10**12, description="Minor units.")] = None,
    amount_to: Annotated[int | None, Query(ge=0, le=10**12, description="Minor units.")] = None,
    last4: Annotated[str | None, Query(pattern="^[0-9]{4}$")] = None,
) -> TransactionFilter:
    """The filters of a listing."""
    return TransactionFilter(
        text=q,
        since=since,
        until=until,
        statuses=status,
        kinds=kind,
        channels=channel,
        methods=method,
        reader_id=reader_id,
        location_id=location_id,
        cashier_id=cashier_id,
        device_id=device_id,
        customer_id=customer_id,
        session_id=session_id,
        currency=currency,
        amount_from=amount_from,
        amount_to=amount_to,
        last4=last4,
    )


Wanted = Annotated[TransactionFilter, Depends(wanted_of)]


@router.get("/transactions")
def list_transactions(
    caller: Viewer, db: ReadDb, page: PageOf, wanted: Wanted
) -> Page[TransactionOut]:
    """Rows of the ledger, the newest first."""
    return page.read(
        db,
        queries.transactions_of(caller.scope, widened(db, caller.scope, wanted)),
        [TRANSACTIONS.c.occurred_at, TRANSACTIONS.c.id],
        make=TransactionOut.model_validate,
    )


@router.get("/transactions/totals")
def transaction_totals(caller: Viewer, db: ReadDb, wanted: Wanted) -> list[TotalOut]:
    """Approved money that the filters find, for each currency."""
    return [
        TotalOut.model_validate(one)
        for one in queries.totals(db, caller.scope, widened(db, caller.scope, wanted))
    ]


@router.get(
    "/transactions/file", response_class=Response, responses={200: {"content": {"text/csv": {}}}}
)
def export_transactions(caller: Exporter, parts: App, wanted: Wanted) -> Response:
    """Rows of the ledger as CSV, of any number, the newest first; own fields have columns."""
    return StreamingResponse(
        csv_of(parts.database, caller.scope, wanted),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="transactions.csv"'},
    )


@router.get("/transactions/{transaction_id}")
def read_transaction(
    transaction_id: Annotated[str, Path(max_length=64)], caller: Viewer, db: ReadDb
) -> TransactionDetails:
    """One row, with what belongs to it."""
    row = queries.transaction(db, caller.scope, transaction_id)
    if row is None:
        raise NotFound("transaction", transaction_id)
    related = queries.belonging_to(db, caller.scope, row)
    out = TransactionOut.model_validate(row).model_dump()
    more = {
        name: getattr(row, name)
        for name in TransactionDetails.model_fields
        if name not in out and name != "related"
    }
    return TransactionDetails(
        **out, **more, related=[TransactionOut.model_validate(one) for one in related]
    )
