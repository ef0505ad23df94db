"""Payments that a processor takes: keyed, saved, by bank debit, by link, and as attempts on readers."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.customers.models import ConsentHow
from control_plane.http.dependencies import App
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.payments.errors import CurrencyRefused
from control_plane.virtual_terminal import cloud_readers, queries
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.errors import MethodIncomplete
from control_plane.virtual_terminal.ladder import Offer
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState, PaymentState
from control_plane.virtual_terminal.models import CLOUD_READERS, PAYMENTS
from control_plane.virtual_terminal.reader_desk import CloudReaderWish, ReaderDesk
from control_plane.virtual_terminal.views import LinkView, MomentView, PaymentView
from control_plane.virtual_terminal.wishes import Again, ChargeWish, LinkWish, Order, ReaderWish
from protocols.errors import MoneyMismatch
from protocols.money import LARGEST_MINOR, Money

router = APIRouter(prefix="/v1", tags=["payments"])

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "pay_06f3k8m2q7v1x4b9c5d0e6g8h2",
    "state": "paid",
    "amount_minor": 1234,
    "currency": "EUR",
    "reference": "order 1042",
    "captured_minor": 1234,
    "refunded_minor": 0,
    "card_brand": "visa",
    "card_last4": "4242",
    "offers": [],
}


class MethodIn(BaseModel):
    """How the money is asked for."""

    method: Annotated[
        AttemptMethod,
        Field(
            description="`keyed`: `token` of the provider’s card fields. `saved`: `saved_method_id`. `bank_debit`: "
            "`token` and `bank_kind`, or `saved_method_id`. `link`: a page on which the payer pays. `reader`: "
            "`reader_id`."
        ),
    ]
    token: Annotated[
        str | None,
        Field(
            max_length=200,
            pattern="^ctoken_",
            description="Made by the provider’s own fields in the browser. Card numbers are never sent here.",
        ),
    ] = None
    saved_method_id: Annotated[str | None, Field(max_length=64)] = None
    bank_kind: Literal["us_bank_account", "sepa_debit"] | None = None
    moto: Annotated[
        bool,
        Field(
            description="A mail or telephone order: the payer is not there for 3-D Secure. Without effect on an "
            "account that may not."
        ),
    ] = False
    hint_brand: Annotated[str | None, Field(max_length=40)] = None
    hint_last4: Annotated[
        str | None,
        Field(
            pattern="^[0-9]{4}$",
            description="What the browser knows of the card; guards against charging it twice.",
        ),
    ] = None
    return_url: Annotated[
        str | None, Field(max_length=500, description="Where 3-D Secure leads back to.")
    ] = None
    mandate_offline: Annotated[
        bool, Field(description="The payer agreed to the debit by telephone or on paper.")
    ] = False
    save_for_later: Annotated[
        bool, Field(description="Keep the method with the customer of the payment, who agreed.")
    ] = False
    consent_text: Annotated[
        str, Field(max_length=2000, description="The words that the customer agreed to.")
    ] = ""
    consent_how: ConsentHow | None = None
    link_valid_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 72
    send_to: Annotated[str | None, Field(max_length=254)] = None
    reader_id: Annotated[str | None, Field(max_length=64)] = None
    card_timeout_s: Annotated[int, Field(ge=5, le=300)] = 60


class ItemIn(BaseModel):
    """One line of the order."""

    name: Annotated[str, Field(max_length=200)]
    quantity: Annotated[int, Field(ge=1, le=9_999)] = 1
    unit_minor: Annotated[int, Field(ge=0, le=LARGEST_MINOR)]
    total_minor: Annotated[int, Field(ge=0, le=LARGEST_MINOR)]
    tax_minor: Annotated[int, Field(ge=0, le=LARGEST_MINOR)] = 0
    tax_rate: Annotated[str | None, Field(max_length=20)] = None
    tax_name: Annotated[str | None, Field(max_length=100)] = None
    item_id: Annotated[str | None, Field(max_length=64)] = None


class PaymentIn(MethodIn):
    """A payment to take."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "method": "keyed",
                    "amount_minor": 1234,
                    "currency": "EUR",
                    "token": "ctoken_1Sb2c3d4e5f6g7h8",
                    "hint_last4": "4242",
                    "reference": "order 1042",
                }
            ]
        },
    )

    amount_minor: Annotated[
        int,
        Field(
            strict=True,
            gt=0,
            le=LARGEST_MINOR,
            description="All of it, in whole minor units: 1234 is 12.34 EUR, or 1234 JPY.",
        ),
    ]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217, such as EUR.")]
    location_id: Annotated[str | None, Field(max_length=64)] = None
    customer_id: Annotated[str | None, Field(max_length=64)] = None
    tax_minor: Annotated[int, Field(ge=0, le=LARGEST_MINOR)] = 0
    tip_minor: Annotated[int, Field(ge=0, le=LARGEST_MINOR)] = 0
    items: Annotated[list[ItemIn], Field(max_length=100)] = []
    fields: Annotated[
        dict[str, str], Field(max_length=50, description="Values of your own fields, by key.")
    ] = {}
    reference: Annotated[str, Field(max_length=200)] = ""
    note: Annotated[str, Field(max_length=200)] = ""
    receipt_email: Annotated[str, Field(max_length=254)] = ""
    capture_later: Annotated[
        bool, Field(description="Only hold the money; take it with `capture`.")
    ] = False
    confirm_duplicate: Annotated[
        bool, Field(description="Go on although 409 `possible_duplicate` named another payment.")
    ] = False


class AttemptIn(MethodIn):
    """Another way to take the same payment."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"method": "link", "link_valid_hours": 24}]},
    )

    replaces: Annotated[
        str | None,
        Field(
            max_length=64,
            description="The open attempt (a link, 3-D Secure) that is given up for this one.",
        ),
    ] = None


class AmountIn(BaseModel):
    """An amount of the payment’s currency."""

    model_config = ConfigDict(extra="forbid")

    amount_minor: Annotated[int, Field(strict=True, gt=0, le=LARGEST_MINOR)]


class CaptureIn(BaseModel):
    """How much of the held money to take."""

    model_config = ConfigDict(extra="forbid")

    amount_minor: Annotated[
        int | None,
        Field(gt=0, le=LARGEST_MINOR, description="All of it when left out; the rest is let go."),
    ] = None


class CancelIn(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=200)] = ""


class MicrodepositsIn(BaseModel):
    """What the payer’s statement shows: both amounts, or the code."""

    model_config = ConfigDict(extra="forbid")

    amounts: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    code: Annotated[str | None, Field(pattern="^SM[0-9A-Za-z]{4}$")] = None


class AttemptOut(BaseModel):
    """One try, as it stands."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    number: int
    method: AttemptMethod
    state: AttemptState
    moto: bool
    saved_method_id: str | None
    cloud_reader_id: str | None
    session_id: str | None
    link_expires_at: datetime | None
    charge_id: str | None
    code: Annotated[str | None, Field(description="Why not: Stripe’s decline code, or ours.")]
    message: str
    card_brand: str | None
    card_last4: str | None
    address_check: Annotated[str | None, Field(description="pass, fail, unavailable or unchecked.")]
    postal_code_check: str | None
    cvc_check: str | None
    three_d_secure: str | None
    risk_level: str | None
    authorization_code: str | None
    started_by: str
    started_at: datetime
    ended_at: datetime | None


class ActionOut(BaseModel):
    """What the payer’s browser has to do next."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    client_secret: str | None
    url: str | None


class PaymentOut(BaseModel):
    """A payment, as it stands."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    state: Annotated[
        PaymentState,
        Field(
            description="`unknown`: the answer was lost and is being found out. Never charge again because of it. "
            "`open`: nothing was charged, and `offers` says what may follow."
        ),
    ]
    state_since: datetime
    explanation: str
    amount_minor: int
    currency: str
    tax_minor: int
    tip_minor: int
    items: list[dict[str, Any]]
    fields: dict[str, str]
    location_id: str | None
    cashier_id: str
    cashier_name: str
    customer_id: str | None
    customer_name: str
    reference: str
    note: str
    receipt_email: str
    capture_later: bool
    processor_id: str | None
    livemode: bool
    authorized_minor: int
    captured_minor: int
    capture_before: datetime | None
    refunded_minor: int
    charge_id: str | None
    method_kind: str | None
    card_brand: str | None
    card_last4: str | None
    risk_level: str | None
    fee_minor: int | None
    settlement_minor: int | None
    settlement_currency: str | None
    settlement_rate: str | None
    transaction_id: Annotated[str | None, Field(description="Its row in the ledger.")]
    duplicate_of: Annotated[
        str | None, Field(description="Another charge of the same card and amount.")
    ]
    created_at: datetime
    attempt: Annotated[AttemptOut | None, Field(description="The last one; null in lists.")]
    offers: Annotated[list[Offer], Field(description="What may be tried now, the best first.")]
    action: ActionOut | None


class LinkOut(BaseModel):
    """A link for the payer."""

    url: str
    expires_at: datetime
    attempt_id: str
    payment: PaymentOut


class MomentOut(BaseModel):
    """One line of the timeline."""

    id: int
    at: datetime
    kind: str
    sentence: Annotated[str, Field(description="English; `facts` are filled in.")]
    text: str
    facts: dict[str, str]
    attempt_id: str | None
    actor_name: str


PaymentId = Annotated[str, Path(max_length=64, examples=["pay_06f3k8m2q7v1x4b9c5d0e6g8h2"])]
Charger = Annotated[Caller, requires(Permission.PAYMENT_CHARGE_CREATE)]
Holder = Annotated[Caller, requires(Permission.PAYMENT_CHARGE_MANAGE)]
Viewer = Annotated[Caller, requires(Permission.PAYMENT_VIEW)]
FormKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Any text that is new for each new request; sent again, it is the same one and moves no money.",
        examples=["sale-2026-11-23-0042"],
    ),
]


@router.post("/payments", status_code=201)
async def create_payment(
    wish: PaymentIn, caller: Charger, parts: App, idempotency_key: FormKey = None
) -> PaymentOut:
    """Take a payment. A decline is a 201 whose `attempt` says why and whose `offers` say what may follow.

    409 `possible_duplicate` names an earlier payment of the same card, order and amount: nothing was charged.
    """
    order = Order(
        amount=_money(wish.amount_minor, wish.currency),
        location_id=wish.location_id,
        customer_id=wish.customer_id,
        tax_minor=wish.tax_minor,
        tip_minor=wish.tip_minor,
        items=tuple(item.model_dump() for item in wish.items),
        fields=wish.fields,
        reference=wish.reference,
        note=wish.note,
        receipt_email=wish.receipt_email,
        capture_later=wish.capture_later,
        form_key=form_key_of(idempotency_key),
        confirm_duplicate=wish.confirm_duplicate,
    )
    return await _take(parts, caller, order, wish)


@router.get("/payments")
def list_payments(
    caller: Viewer,
    parts: App,
    page: PageOf,
    text: Annotated[
        str, Query(max_length=200, description="An id, last digits, or part of reference or note.")
    ] = "",
    state: Annotated[list[PaymentState] | None, Query(description="Any of these.")] = None,
    customer_id: Annotated[str | None, Query(max_length=64)] = None,
    cashier_id: Annotated[str | None, Query(max_length=64)] = None,
    location_id: Annotated[str | None, Query(max_length=64)] = None,
    currency: Annotated[str | None, Query(pattern="^[A-Z]{3}$")] = None,
    since: Annotated[datetime | None, Query(description="Included; with its time zone.")] = None,
    until: Annotated[datetime | None, Query(description="Not included.")] = None,
) -> Page[PaymentOut]:
    """Payments, the newest first."""
    wanted = queries.PaymentFilter(
        text=text,
        states=state or (),
        customer_id=customer_id,
        cashier_id=cashier_id,
        location_id=location_id,
        currency=currency,
        since=aware(since),
        until=aware(until),
    )
    with parts.database.reading() as db:
        return page.read(
            db,
            queries.payments_of(caller.scope, wanted),
            [PAYMENTS.c.id],
            make=lambda row: _out(queries.payment_view(row)),
        )


@router.get("/payments/{payment_id}")
def read_payment(payment_id: PaymentId, caller: Viewer, parts: App) -> PaymentOut:
    """One payment as it stands here; `resolve` asks Stripe."""
    with parts.database.reading_connection() as db:
        return _out(queries.payment(db, caller.scope, payment_id))


@router.get("/payments/{payment_id}/attempts")
def list_attempts(payment_id: PaymentId, caller: Viewer, parts: App) -> list[AttemptOut]:
    """Every try, the first first."""
    with parts.database.reading_connection() as db:
        queries.payment(db, caller.scope, payment_id)
        found = queries.attempts(db, caller.scope, payment_id)
    return [AttemptOut.model_validate(one) for one in found]


@router.post("/payments/{payment_id}/attempts", status_code=201)
async def create_attempt(
    payment_id: PaymentId,
    wish: AttemptIn,
    caller: Charger,
    parts: App,
    idempotency_key: FormKey = None,
) -> PaymentOut:
    """Try the same payment another way; it is never charged twice.

    409 `attempt_running`, `payment_unknown` or `payment_paid` when there is nothing to try.
    """
    order = Again(
        payment_id=payment_id, replaces=wish.replaces, form_key=form_key_of(idempotency_key)
    )
    return await _take(parts, caller, order, wish)


@router.post("/payments/{payment_id}/attempts/give-up")
async def give_up_attempt(payment_id: PaymentId, caller: Charger, parts: App) -> PaymentOut:
    """Give up an open link, 3-D Secure or a sale on a reader of the processor; the payment stays open for another way.

    409 `reader_authorizing` while the card is with the bank.
    """
    return _out(await apart(_give_up, parts, caller, payment_id))


@router.post("/payments/{payment_id}/capture")
async def capture_payment(
    payment_id: PaymentId, caller: Holder, parts: App, wish: CaptureIn | None = None
) -> PaymentOut:
    """Take held money, all of it or less. 409 `not_capturable` when none is held."""
    amount = None if wish is None else wish.amount_minor
    return _out(await apart(parts.get(Desk).capture, caller, payment_id, amount_minor=amount))


@router.post("/payments/{payment_id}/increment")
async def increment_payment(
    payment_id: PaymentId, wish: AmountIn, caller: Holder, parts: App
) -> PaymentOut:
    """Hold more; `amount_minor` is the new total. 409 `not_incrementable` when the card or its bank does not."""
    return _out(await apart(parts.get(Desk).increment, caller, payment_id, wish.amount_minor))


@router.post("/payments/{payment_id}/cancel")
async def cancel_payment(
    payment_id: PaymentId, caller: Charger, parts: App, wish: CancelIn | None = None
) -> PaymentOut:
    """Give the payment up; held money is let go. When it turns out to be paid, the answer says so."""
    reason = "" if wish is None else wish.reason
    return _out(await apart(parts.get(Desk).cancel, caller, payment_id, reason=reason))


@router.post("/payments/{payment_id}/accept-checks")
async def accept_payment_checks(payment_id: PaymentId, caller: Charger, parts: App) -> PaymentOut:
    """Take the held money although the address, postal code or security code did not match."""
    return _out(await apart(parts.get(Desk).accept_checks, caller, payment_id))


@router.post("/payments/{payment_id}/resolve")
async def resolve_payment(payment_id: PaymentId, caller: Viewer, parts: App) -> PaymentOut:
    """Ask Stripe now how the payment stands; also after the payer has confirmed (3-D Secure)."""
    return _out(await apart(parts.get(Desk).resolve, caller, payment_id))


@router.post("/payments/{payment_id}/microdeposits")
async def verify_payment_microdeposits(
    payment_id: PaymentId, wish: MicrodepositsIn, caller: Charger, parts: App
) -> PaymentOut:
    """Check the two small deposits that arrived in the payer’s account."""
    if wish.amounts is None and wish.code is None:
        raise MethodIncomplete(
            field="amounts", method="The check", needed="both amounts, or the code"
        )
    amounts = None if wish.amounts is None else (wish.amounts[0], wish.amounts[1])
    desk = parts.get(Desk)
    return _out(
        await apart(desk.verify_microdeposits, caller, payment_id, amounts=amounts, code=wish.code)
    )


@router.get("/payments/{payment_id}/link")
async def read_payment_link(payment_id: PaymentId, caller: Charger, parts: App) -> LinkOut | None:
    """The open link of a payment; null when there is none."""
    found = await apart(parts.get(Desk).link_of, caller, payment_id)
    return None if found is None else _link(parts.settings.base_url, found)


@router.get("/payments/{payment_id}/timeline")
def read_payment_timeline(
    payment_id: PaymentId,
    caller: Viewer,
    parts: App,
    after: Annotated[int, Query(ge=0, description="Only lines after this one.")] = 0,
) -> list[MomentOut]:
    """What happened, the oldest first."""
    with parts.database.reading_connection() as db:
        queries.payment(db, caller.scope, payment_id)
        return [_moment(one) for one in queries.moments(db, caller.scope, payment_id, after=after)]


def form_key_of(idempotency_key: str | None) -> str | None:
    """What the database remembers of an Idempotency-Key."""
    if idempotency_key is None:
        return None
    return hashlib.sha256(f"api {idempotency_key}".encode()).hexdigest()


def aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is taken as UTC."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)


_CHARGES: Final[dict[AttemptMethod, Literal["keyed", "saved", "bank_debit"]]] = {
    AttemptMethod.KEYED: "keyed",
    AttemptMethod.SAVED: "saved",
    AttemptMethod.BANK_DEBIT: "bank_debit",
}


async def _take(parts: Parts, caller: Caller, order: Order | Again, wish: MethodIn) -> PaymentOut:
    desk = parts.get(Desk)
    match wish.method:
        case AttemptMethod.LINK:
            link = LinkWish(
                order=order,
                valid_for=timedelta(hours=wish.link_valid_hours),
                send_to=wish.send_to,
            )
            return _out((await apart(desk.offer_link, caller, link)).payment)
        case AttemptMethod.READER:
            if wish.reader_id is None:
                raise MethodIncomplete(field="reader_id", method="A reader", needed="its id")
            if await apart(_is_cloud_reader, parts, caller, wish.reader_id):
                theirs = CloudReaderWish(order=order, reader_id=wish.reader_id)
                return _out(await apart(parts.get(ReaderDesk).start, caller, theirs))
            sale = ReaderWish(
                order=order, reader_id=wish.reader_id, card_timeout_s=wish.card_timeout_s
            )
            return _out(await apart(desk.start_on_reader, caller, sale))
        case AttemptMethod.KEYED | AttemptMethod.SAVED | AttemptMethod.BANK_DEBIT as method:
            charge = ChargeWish(
                order=order,
                method=_CHARGES[method],
                token=wish.token,
                saved_method_id=wish.saved_method_id,
                bank_kind=wish.bank_kind,
                moto=wish.moto,
                hint_brand=wish.hint_brand,
                hint_last4=wish.hint_last4,
                return_url=wish.return_url,
                mandate_offline=wish.mandate_offline,
                save_for_later=wish.save_for_later,
                consent_text=wish.consent_text,
                consent_how=wish.consent_how,
            )
            return _out(await apart(desk.charge, caller, charge))


def _is_cloud_reader(parts: Parts, caller: Caller, reader_id: str) -> bool:
    with parts.database.glance() as db:
        found = db.execute(
            cloud_readers.readers_of(caller.scope).where(CLOUD_READERS.c.id == reader_id)
        )
        return found.first() is not None


def _give_up(parts: Parts, caller: Caller, payment_id: str) -> PaymentView:
    with parts.database.reading_connection() as db:
        last = queries.payment(db, caller.scope, payment_id).attempt
    if last is not None and last.cloud_reader_id is not None:
        return parts.get(ReaderDesk).cancel(caller, payment_id)
    return parts.get(Desk).give_up_attempt(caller, payment_id)


def _money(minor: int, currency: str) -> Money:
    try:
        return Money(minor, currency)
    except MoneyMismatch:
        raise CurrencyRefused(currency=currency) from None


def _out(view: PaymentView) -> PaymentOut:
    return PaymentOut.model_validate(view)


def _link(base_url: str, link: LinkView) -> LinkOut:
    return LinkOut(
        url=f"{base_url}/pay/{link.token}",
        expires_at=link.expires_at,
        attempt_id=link.attempt_id,
        payment=_out(link.payment),
    )


def _moment(moment: MomentView) -> MomentOut:
    return MomentOut(
        id=moment.id,
        at=moment.at,
        kind=moment.kind.value,
        sentence=moment.kind.english,
        text=moment.text,
        facts=moment.facts,
        attempt_id=moment.attempt_id,
        actor_name=moment.actor_name,
    )
