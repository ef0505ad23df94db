"""Customers, what they let the merchant keep, and what they bought."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.api.transactions import TransactionOut
from control_plane.customers import methods, queries, service
from control_plane.customers.expiry import Expiry, expiry_of
from control_plane.customers.models import (
    CUSTOMERS,
    ConsentHow,
    MandateStatus,
    MethodKind,
    MethodStatus,
)
from control_plane.customers.queries import CustomerFilter, Found
from control_plane.customers.service import Details
from control_plane.db.unit_of_work import Transaction
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.idempotency import OnceOnly
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.transactions import queries as transactions
from control_plane.transactions.models import TRANSACTIONS
from control_plane.transactions.queries import TransactionFilter
from control_plane.virtual_terminal import saved_methods
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.saved_methods import SaveOutcome, SaveWish

router = APIRouter(prefix="/v1", tags=["customers"])

Viewer = Annotated[Caller, requires(Permission.CUSTOMER_VIEW)]
Keeper = Annotated[Caller, requires(Permission.CUSTOMER_MANAGE)]
Reader = Annotated[Caller, requires(Permission.TRANSACTION_VIEW)]
CustomerId = Annotated[str, Path(max_length=64)]
MethodId = Annotated[str, Path(max_length=64)]

_ADDRESS: Final = {"line1": "1 rue de la Paix", "postal_code": "75002", "city": "Paris", "country": "FR"}  # fmt: skip
_EXAMPLE: Final[dict[str, Any]] = {
    "id": "cst_06f3k8m2r4s6t8v0w2x4y6z8a0",
    "name": "Jeanne Dupont",
    "email": "jeanne@example.com",
    "phone": "+33 6 12 34 56 78",
    "company": "",
    "address": _ADDRESS,
    "language": "fr",
    "note": "",
    "processor_id": "cus_Q1w2e3r4t5y6u7",
    "created_at": "2026-11-23T09:15:03.101Z",
    "updated_at": "2026-11-23T09:15:03.101Z",
    "used_at": "2026-11-23T09:15:03.101Z",
    "archived_at": None,
}


class CustomerIn(BaseModel):
    """A customer, as written. Card numbers in free texts are masked."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Jeanne Dupont", "email": "jeanne@example.com"}]},
    )

    name: str = Field(default="", max_length=200)
    email: str = Field(default="", max_length=254)
    phone: str = Field(default="", max_length=40)
    company: str = Field(default="", max_length=200)
    address: dict[str, str] = Field(
        default_factory=dict,
        max_length=6,
        description="line1, line2, city, state, postal_code, country (two letters)",
    )
    language: Literal["en", "fr"] | None = Field(default=None, description="Of receipts.")
    note: str = Field(default="", max_length=2000)


class CustomerChange(BaseModel):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"phone": "+33 6 12 34 56 79"}]}
    )

    name: str = Field(default="", max_length=200)
    email: str = Field(default="", max_length=254)
    phone: str = Field(default="", max_length=40)
    company: str = Field(default="", max_length=200)
    address: dict[str, str] = Field(default_factory=dict, max_length=6)
    language: Literal["en", "fr"] | None = None
    note: str = Field(default="", max_length=2000)


class CustomerOut(BaseModel):
    """A customer."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    name: str
    email: str
    phone: str
    company: str
    address: dict[str, str]
    language: str | None
    note: str
    processor_id: str | None = Field(description="The processor's own id, once it knows them.")
    created_at: datetime
    updated_at: datetime
    used_at: datetime = Field(description="When they last paid.")
    archived_at: datetime | None


class MethodOut(BaseModel):
    """A card or bank account that the processor keeps, and the consent to it."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["smt_06f3k8m2r4s6t8v0w2x4y6z8a0"])
    customer_id: str
    kind: MethodKind
    title: str = Field(examples=["Visa •• 4242"])
    brand: str
    last4: str = Field(examples=["4242"])
    exp_month: int | None
    exp_year: int | None
    expiry: Expiry = Field(description="Where the card's date stands today.")
    funding: str
    bank_name: str
    processor_id: str = Field(examples=["pm_1Q2w3e4r5t6y7u"])
    mandate_id: str | None
    mandate_status: MandateStatus | None
    consent_text: str
    consent_how: ConsentHow
    consent_at: datetime
    consent_by: str
    consent_by_name: str
    status: MethodStatus
    status_reason: str
    is_default: bool
    created_at: datetime
    used_at: datetime | None


class NewMethod(BaseModel):
    """What the processor's own fields gave, and what the customer agreed to."""

    model_config = ConfigDict(extra="forbid")

    confirmation_token: str = Field(
        min_length=1, max_length=200, pattern="^[!-~]+$", examples=["ctoken_1Q2w3e4r5t6y7u"]
    )
    kind: Literal["card", "us_bank_account", "sepa_debit"] = "card"
    consent_text: str = Field(
        max_length=2000, examples=["You may charge my card for orders by telephone."]
    )
    consent_how: ConsentHow
    return_url: str | None = Field(default=None, max_length=2000)


class MethodAction(BaseModel):
    """What the payer did what the processor wanted for; see `handle` of the answer before."""

    model_config = ConfigDict(extra="forbid")

    handle: str = Field(min_length=1, max_length=300, pattern="^[!-~]+$")
    consent_text: str = Field(max_length=2000)
    consent_how: ConsentHow


class NewMethodOut(BaseModel):
    """The saved method; or what the payer has to do first, in their browser."""

    method: MethodOut | None
    action: str | None = Field(examples=["use_stripe_sdk"])
    client_secret: str | None
    handle: str | None


@router.get("/customers")
def list_customers(
    caller: Viewer,
    db: ReadDb,
    page: PageOf,
    q: Annotated[
        str,
        Query(
            max_length=100,
            description="Beginnings of words: of the name, company, e-mail or phone; last four digits of a card.",
        ),
    ] = "",
    email: Annotated[str, Query(max_length=254, description="Exactly.")] = "",
    archived: Annotated[bool, Query(description="Archived ones too.")] = False,
) -> Page[CustomerOut]:
    """Customers, those that came last first."""
    wanted = CustomerFilter(
        text=q, email=email.strip().casefold().replace("\x00", ""), with_archived=archived
    )
    return page.read(
        db,
        queries.customers_of(caller.scope, wanted),
        [CUSTOMERS.c.used_at, CUSTOMERS.c.id],
        make=CustomerOut.model_validate,
    )


@router.post("/customers", status_code=201, response_model=CustomerOut)
def create_customer(new: CustomerIn, caller: Keeper, db: Db, once: OnceOnly) -> Response:
    """Add a customer."""

    def made() -> CustomerOut:
        return _out(db, caller, service.create_customer(db, caller, Details(**new.model_dump())))

    return once.answer(db, caller, made, status=201)


@router.get("/customers/{customer_id}")
def read_customer(customer_id: CustomerId, caller: Viewer, db: ReadDb) -> CustomerOut:
    """One customer."""
    return _out(db, caller, customer_id)


@router.patch("/customers/{customer_id}")
def update_customer(
    customer_id: CustomerId, change: CustomerChange, caller: Keeper, db: Db
) -> CustomerOut:
    """Change a customer. 409 `customer_archived` when they were put away."""
    service.update_customer(db, caller, customer_id, change.model_dump(exclude_unset=True))
    return _out(db, caller, customer_id)


@router.post("/customers/{customer_id}/archive")
def archive_customer(customer_id: CustomerId, caller: Keeper, db: Db) -> CustomerOut:
    """Put a customer away: not found, not charged. The history stays."""
    service.archive_customer(db, caller, customer_id)
    return _out(db, caller, customer_id)


@router.post("/customers/{customer_id}/restore")
def restore_customer(customer_id: CustomerId, caller: Keeper, db: Db) -> CustomerOut:
    """Bring a customer back."""
    service.restore_customer(db, caller, customer_id)
    return _out(db, caller, customer_id)


@router.get("/customers/{customer_id}/transactions")
def list_customer_transactions(
    customer_id: CustomerId, caller: Reader, db: ReadDb, page: PageOf
) -> Page[TransactionOut]:
    """What a customer bought, on every channel, within the caller's shops."""
    service.customer_of(db, caller, customer_id)
    return page.read(
        db,
        transactions.transactions_of(caller.scope, TransactionFilter(customer_id=customer_id)),
        [TRANSACTIONS.c.occurred_at, TRANSACTIONS.c.id],
        make=TransactionOut.model_validate,
    )


@router.get("/customers/{customer_id}/methods")
def list_saved_methods(
    customer_id: CustomerId,
    caller: Viewer,
    db: ReadDb,
    parts: App,
    removed: Annotated[bool, Query(description="Removed ones too.")] = False,
) -> list[MethodOut]:
    """What a customer lets the merchant keep: the usual one first."""
    service.customer_of(db, caller, customer_id)
    found = queries.methods(db, caller.scope, customer_id, with_removed=removed)
    return [_method(row, parts.clock.now()) for row in found]


@router.post("/customers/{customer_id}/methods", status_code=201, response_model=NewMethodOut)
async def save_method(
    customer_id: CustomerId, new: NewMethod, caller: Keeper, parts: App
) -> NewMethodOut:
    """Save a card or bank account with the customer's consent, without a charge.

    Sent again with the same token, it answers the same. When `action` is set, the payer has something to do first:
    then send `handle` to `/customers/{id}/methods/finish`. 409 `saving_declined`: the bank does not let it be kept.
    """
    wish = SaveWish(
        customer_id=customer_id,
        token=new.confirmation_token,
        kind=new.kind,
        consent_text=new.consent_text,
        consent_how=new.consent_how,
        return_url=new.return_url,
    )
    outcome = await apart(saved_methods.save, parts.get(Desk).office, caller, wish)
    return await apart(_saved, parts, caller, outcome)


@router.post("/customers/{customer_id}/methods/finish")
async def finish_saving_method(
    customer_id: CustomerId, done: MethodAction, caller: Keeper, parts: App
) -> NewMethodOut:
    """The payer has done what was asked: save the method, if the bank agrees."""
    outcome = await apart(
        saved_methods.finish_saving,
        parts.get(Desk).office,
        caller,
        customer_id,
        done.handle,
        consent_text=done.consent_text,
        consent_how=done.consent_how,
    )
    return await apart(_saved, parts, caller, outcome)


@router.delete("/customers/{customer_id}/methods/{method_id}", status_code=204)
def remove_saved_method(
    customer_id: CustomerId, method_id: MethodId, caller: Keeper, db: Db
) -> Response:
    """Never charge it again, and let the processor forget it."""
    methods.method_of(db, caller, method_id, customer_id=customer_id)
    methods.remove_method(db, caller, method_id)
    return Response(status_code=204)


@router.post("/customers/{customer_id}/methods/{method_id}/prefer")
def prefer_saved_method(
    customer_id: CustomerId, method_id: MethodId, caller: Keeper, db: Db, parts: App
) -> MethodOut:
    """Offer it first from now on."""
    methods.method_of(db, caller, method_id, customer_id=customer_id)
    methods.prefer_method(db, caller, method_id)
    return _method(methods.method_of(db, caller, method_id), parts.clock.now())


def _out(db: Transaction, caller: Caller, customer_id: str) -> CustomerOut:
    return CustomerOut.model_validate(service.customer_of(db, caller, customer_id))


def _saved(parts: Parts, caller: Caller, outcome: SaveOutcome) -> NewMethodOut:
    method = None
    if outcome.method_id is not None:
        with parts.database.reading_connection() as db:
            method = _method(methods.method_of(db, caller, outcome.method_id), parts.clock.now())
    return NewMethodOut(
        method=method,
        action=outcome.action,
        client_secret=outcome.client_secret,
        handle=outcome.handle,
    )


def _method(row: Found, now: datetime) -> MethodOut:
    facts: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - its public name in SQLAlchemy
    expiry = expiry_of(row.exp_month, row.exp_year, now.date())
    return MethodOut(**facts, title=methods.title_of(facts), expiry=expiry)
