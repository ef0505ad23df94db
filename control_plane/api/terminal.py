"""The processor's readers and places, phones that take cards, and the account with the processor."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import NotSignedIn, RequestRefused, TooManyRequests
from control_plane.http.dependencies import App, ReadDb
from control_plane.http.pagination import Page, PageOf
from control_plane.http.rate_limit import RateLimit
from control_plane.http.security import PUBLIC, address_of, requires, user_agent_of
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.virtual_terminal import accounts, cloud_readers, inbox, pairing, reader_refunds
from control_plane.virtual_terminal.accounts import Accounts, AccountView, Keys
from control_plane.virtual_terminal.cloud_readers import CloudReaderView, ReaderFleet
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.inbox import EventState
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.models import CLOUD_READERS
from control_plane.virtual_terminal.pairing import PairedPhone, Phones, PhoneSale, PhoneView
from control_plane.virtual_terminal.processor import CartLine, ReaderInput
from control_plane.virtual_terminal.reader_desk import ReaderDesk
from control_plane.virtual_terminal.wishes import Again, Order
from protocols.ids import new_id
from protocols.money import LARGEST_MINOR, Money
from protocols.secret import Secret

router = APIRouter(prefix="/v1", tags=["terminal"])

Id = Annotated[str, Path(max_length=64)]
Viewer = Annotated[Caller, requires(Permission.READER_VIEW)]
Manager = Annotated[Caller, requires(Permission.READER_MANAGE)]
Cashier = Annotated[Caller, requires(Permission.PAYMENT_CHARGE_CREATE)]
Owner = Annotated[Caller, requires(Permission.PROCESSOR_MANAGE)]
Settling = Annotated[Caller, requires(Permission.SETTINGS_MANAGE)]

#: Connection tokens are licences to take payments: no app needs more of them.
_TOKENS_A_MINUTE: Final = 30
_TOKENS: Final = RateLimit(_TOKENS_A_MINUTE)

_READER_EXAMPLE: Final[dict[str, Any]] = {
    "id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "location_id": "loc_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "name": "Counter 1",
    "device_type": "stripe_s700",
    "model": "Stripe Reader S700",
    "serial_number": "STRM26138003393",
    "software_version": "2.46.3.0",
    "status": "online",
    "last_seen_at": "2026-11-23T09:15:03Z",
    "checked_at": "2026-11-23T09:15:04Z",
    "is_driven_by_app": False,
    "shows_cart": False,
    "held_by": None,
    "created_at": "2026-11-23T08:00:00Z",
}


class AmountMissing(RequestRefused):
    """Neither an amount nor a payment."""

    code = "amount_missing"
    message = "Send amount_minor and currency of a new sale, or the payment_id of one to try again."


class Address(BaseModel):
    """Where a shop is, as the processor wants it once."""

    model_config = ConfigDict(extra="forbid")

    line1: Annotated[str, Field(min_length=1, max_length=200)]
    line2: Annotated[str, Field(max_length=200)] = ""
    city: Annotated[str, Field(max_length=200)] = ""
    state: Annotated[str, Field(max_length=200)] = ""
    postal_code: Annotated[str, Field(max_length=20)] = ""
    country: Annotated[str, Field(pattern="^[A-Z]{2}$", description="ISO 3166, such as US.")]


class ReaderIn(BaseModel):
    """A reader to register by the words on its screen."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "registration_code": "sepia-cerulean-aqua",
                    "name": "Counter 1",
                    "location_id": "loc_06f3k8a1b2c3d4e5f6g7h8j9k0",
                }
            ]
        },
    )

    registration_code: Annotated[str, Field(min_length=3, max_length=100)]
    name: Annotated[str, Field(max_length=200)] = ""
    location_id: Annotated[str, Field(max_length=40)]
    address: Annotated[
        Address | None,
        Field(description="Of the shop; needed before its first reader only."),
    ] = None


class NameIn(BaseModel):
    """Another name."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]


class CloudReaderOut(BaseModel):
    """A reader of the processor, as it was when last looked at."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [_READER_EXAMPLE]}
    )

    id: str
    location_id: str
    name: str
    device_type: str
    model: str
    serial_number: str
    software_version: str | None
    status: Annotated[str, Field(description="online or offline.")]
    last_seen_at: datetime | None
    checked_at: datetime | None
    is_driven_by_app: Annotated[
        bool, Field(description="Only an app beside it can start payments on it.")
    ]
    shows_cart: bool
    held_by: Annotated[str | None, Field(description="The payment that has it now.")]
    created_at: datetime


class ReaderLocationOut(BaseModel):
    """A shop, as the processor knows it."""

    model_config = ConfigDict(from_attributes=True)

    location_id: str
    name: str
    processor_id: Annotated[str | None, Field(description="null: it has no reader yet.")]
    address: dict[str, str]


class LineIn(BaseModel):
    """One line of a cart."""

    model_config = ConfigDict(extra="forbid")

    description: Annotated[str, Field(min_length=1, max_length=100)]
    amount_minor: Annotated[int, Field(strict=True, ge=0, le=LARGEST_MINOR)]
    quantity: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1


class CartIn(BaseModel):
    """What a reader shows while things are bought."""

    model_config = ConfigDict(extra="forbid")

    lines: Annotated[list[LineIn], Field(min_length=1, max_length=100)]
    total_minor: Annotated[int, Field(strict=True, ge=0, le=LARGEST_MINOR)]
    tax_minor: Annotated[int, Field(strict=True, ge=0, le=LARGEST_MINOR)] = 0
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]


class InputIn(BaseModel):
    """One question."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["text", "numeric", "email", "phone", "signature", "selection"]
    title: Annotated[str, Field(min_length=1, max_length=40)]
    description: Annotated[str, Field(max_length=500)] = ""
    required: bool = False
    choices: Annotated[list[str], Field(max_length=4)] = []


class InputsIn(BaseModel):
    """What to ask the customer; five things at most."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[list[InputIn], Field(min_length=1, max_length=5)]


class ActionOut(BaseModel):
    """What a reader does, or did last."""

    kind: str
    status: Literal["in_progress", "succeeded", "failed"]
    failure_code: str | None
    failure_message: str | None
    answers: list[dict[str, str]]


class PhoneIn(BaseModel):
    """A phone to pair."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=200)] = ""
    location_id: Annotated[str, Field(max_length=40)]


class PhoneOut(BaseModel):
    """A phone that takes cards by itself."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    location_id: str
    user_id: str
    user_name: str
    name: str
    platform: str
    app_version: str
    code_expires_at: datetime
    paired_at: datetime | None
    last_seen_at: datetime | None
    revoked_at: datetime | None


class InvitedPhoneOut(PhoneOut):
    """The code is shown only now."""

    code: str
    address: Annotated[str, Field(description="What the QR picture says.")]


class PairIn(BaseModel):
    """A code, as the app read it."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=8, max_length=40)]
    platform: Annotated[str, Field(max_length=100)] = ""
    app_version: Annotated[str, Field(max_length=60)] = ""


class PairedOut(BaseModel):
    """The token signs the phone in from now on; it is told only now."""

    phone: PhoneOut
    token: str


class TokenIn(BaseModel):
    """For which shop; a phone's own when left out."""

    model_config = ConfigDict(extra="forbid")

    location_id: Annotated[str | None, Field(max_length=40)] = None


class TokenOut(BaseModel):
    """For the processor's software, once."""

    secret: str


class LinkOut(BaseModel):
    """An address to open."""

    url: str


class PhoneSaleIn(BaseModel):
    """A sale that a phone takes: a new one, or ``payment_id`` once more."""

    model_config = ConfigDict(extra="forbid")

    amount_minor: Annotated[int | None, Field(strict=True, gt=0, le=LARGEST_MINOR)] = None
    currency: Annotated[str | None, Field(pattern="^[A-Z]{3}$")] = None
    reference: Annotated[str, Field(max_length=200)] = ""
    note: Annotated[str, Field(max_length=200)] = ""
    payment_id: Annotated[str | None, Field(max_length=40)] = None


class PhoneSaleOut(BaseModel):
    """How a sale stands. ``client_secret`` is null once there is nothing to take."""

    payment_id: str
    state: PaymentState
    amount_minor: int
    currency: str
    client_secret: str | None
    code: Annotated[str | None, Field(description="Why the last attempt was refused.")]
    message: str


class ConnectIn(BaseModel):
    """Keys of the processor's dashboard."""

    model_config = ConfigDict(extra="forbid")

    secret_key: SecretStr
    publishable_key: Annotated[str, Field(max_length=200)]
    webhook_secret: SecretStr | None = None
    api_base: Annotated[str, Field(max_length=300, description="Empty but for the sandbox.")] = ""


class ProcessorOut(BaseModel):
    """The account with the processor."""

    connected: bool
    id: str | None = None
    account_id: str | None = None
    livemode: bool | None = None
    country: str | None = None
    default_currency: str | None = None
    publishable_key: str | None = None
    is_sandbox: bool | None = None
    moto_enabled: Annotated[
        bool | None, Field(description="Mail and telephone orders; null: not found out yet.")
    ] = None
    moto_probed_at: datetime | None = None
    webhook_url: str | None = None
    webhook_secrets: Annotated[int, Field(description="How many are accepted.")] = 0
    last_event_at: datetime | None = None
    parked_events: int = 0


# --- readers ---


@router.get("/terminal/locations")
def list_locations(caller: Viewer, db: ReadDb) -> list[ReaderLocationOut]:
    """Shops, with what the processor knows of them."""
    return [
        ReaderLocationOut.model_validate(one) for one in cloud_readers.locations(db, caller.scope)
    ]


@router.get("/terminal/readers")
def list_terminal_readers(
    caller: Viewer,
    parts: App,
    page: PageOf,
    location_id: Annotated[str | None, Query(max_length=40)] = None,
) -> Page[CloudReaderOut]:
    """The processor's readers, the newest first."""
    wanted = cloud_readers.readers_of(caller.scope, location_id=location_id)
    with parts.database.reading() as db:
        return page.read(
            db, wanted, [CLOUD_READERS.c.id], make=lambda row: _reader(cloud_readers.view(row))
        )


@router.post("/terminal/readers", status_code=201)
async def register_reader(wish: ReaderIn, caller: Manager, parts: App) -> CloudReaderOut:
    """Register a reader by the words on its screen. A code works once, so sending it again registers nothing.

    422 `address_needed` before the first reader of a shop; `reader_not_registered` with the processor's words.
    """
    kept = await apart(
        parts.get(ReaderFleet).register,
        caller,
        code=wish.registration_code,
        name=wish.name,
        location_id=wish.location_id,
        address=None if wish.address is None else wish.address.model_dump(),
    )
    return _reader(kept)


@router.get("/terminal/readers/{reader_id}")
def read_terminal_reader(reader_id: Id, caller: Viewer, db: ReadDb) -> CloudReaderOut:
    """One reader."""
    return _reader(cloud_readers.reader(db, caller.scope, reader_id))


@router.patch("/terminal/readers/{reader_id}")
async def rename_reader(reader_id: Id, wish: NameIn, caller: Manager, parts: App) -> CloudReaderOut:
    """Give a reader another name."""
    return _reader(await apart(parts.get(ReaderFleet).rename, caller, reader_id, wish.name))


@router.delete("/terminal/readers/{reader_id}", status_code=204)
async def remove_reader(reader_id: Id, caller: Manager, parts: App) -> Response:
    """Take a reader away; its sales stay. 409 `cloud_reader_held` while it takes a payment."""
    await apart(parts.get(ReaderFleet).remove, caller, reader_id)
    return Response(status_code=204)


@router.post("/terminal/readers/{reader_id}/display")
async def show_cart(reader_id: Id, cart: CartIn, caller: Cashier, parts: App) -> CloudReaderOut:
    """Show what is being bought. The next sale takes it off."""
    shown = await apart(
        parts.get(ReaderFleet).show_cart,
        caller,
        reader_id,
        [CartLine(**line.model_dump()) for line in cart.lines],
        Money(cart.total_minor, cart.currency),
        cart.tax_minor,
    )
    return _reader(shown)


@router.post("/terminal/readers/{reader_id}/inputs", status_code=202)
async def ask_inputs(
    reader_id: Id,
    wish: InputsIn,
    caller: Cashier,
    parts: App,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> ActionOut:
    """Ask the customer on the reader; `GET …/action` tells what they said."""
    fleet = parts.get(ReaderFleet)
    inputs = tuple(
        ReaderInput(**{**one.model_dump(), "choices": tuple(one.choices)}) for one in wish.inputs
    )
    key = f"{reader_id}:ask:{idempotency_key or new_id('ask')}"
    await apart(fleet.ask, caller, reader_id, inputs, key=key)
    return await _action(fleet, caller, reader_id)


@router.get("/terminal/readers/{reader_id}/action")
async def read_action(reader_id: Id, caller: Cashier, parts: App) -> ActionOut:
    """What the reader does now, or did last, as it says at this moment."""
    return await _action(parts.get(ReaderFleet), caller, reader_id)


@router.post("/terminal/readers/{reader_id}/cancel")
async def cancel_reader(reader_id: Id, caller: Cashier, parts: App) -> CloudReaderOut:
    """Stop the sale or refund that the reader has, or take off what it shows.

    409 `reader_authorizing` or `refund_authorizing` while the card is with the bank: nobody can stop that.
    """
    known = await apart(_known, parts, caller, reader_id)
    refund_id = await apart(_refund_on, parts, caller, reader_id)
    if refund_id is not None:
        await apart(parts.get(Desk).cancel_refund, caller, refund_id)
    elif known.held_by is not None:
        await apart(parts.get(ReaderDesk).cancel, caller, known.held_by)
    else:
        await apart(parts.get(ReaderFleet).clear_display, caller, reader_id)
    return _reader(await apart(_known, parts, caller, reader_id))


# --- phones ---


def _refund_on(parts: Parts, caller: Caller, reader_id: str) -> str | None:
    with parts.database.reading_connection() as db:
        return reader_refunds.on_reader(db, caller.merchant_id, reader_id)


def _paired(request: Request, parts: App) -> PairedPhone:
    """The phone whose token the request carries; counted like any caller."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.startswith(pairing.TOKEN_PREFIX):
        raise NotSignedIn
    with parts.database.reading_connection() as db:
        paired = pairing.signed_in(
            db, token.strip(), ip=address_of(request), user_agent=user_agent_of(request)
        )
    _count(request.app.state.rate_limit, paired.phone.id)
    return paired


OfPhone = Annotated[PairedPhone, Depends(_paired)]


@router.get("/terminal/pairings")
def list_phones(caller: Viewer, db: ReadDb) -> list[PhoneOut]:
    """Phones, the newest first."""
    return [PhoneOut.model_validate(one) for one in pairing.phones(db, caller.scope)]


@router.post("/terminal/pairings", status_code=201)
async def invite_phone(wish: PhoneIn, caller: Manager, parts: App) -> InvitedPhoneOut:
    """A code to pair a phone with, good once for a quarter of an hour. What the phone takes is taken in your name."""

    def make() -> tuple[PhoneView, Secret[str]]:
        with parts.database.connection() as db:
            return pairing.invite(db, caller, name=wish.name, location_id=wish.location_id)

    phone, code = await apart(make)
    shown = PhoneOut.model_validate(phone).model_dump()
    return InvitedPhoneOut(
        **shown, code=code.reveal(), address=pairing.address(parts.settings.base_url, code.reveal())
    )


@router.post("/terminal/pairings/claim", dependencies=[PUBLIC], status_code=201)
async def claim_phone(wish: PairIn, request: Request, parts: App) -> PairedOut:
    """The app turns a code into a token, once. 422 `phone_code_refused` for a code that does not count."""

    def pair() -> PairedOut:
        with parts.database.connection() as db:
            phone, token = pairing.pair(
                db,
                wish.code,
                platform=wish.platform,
                app_version=wish.app_version,
                ip=address_of(request),
            )
        return PairedOut(phone=PhoneOut.model_validate(phone), token=token.reveal())

    return await apart(pair)


@router.delete("/terminal/pairings/{phone_id}")
async def revoke_phone(phone_id: Id, caller: Manager, parts: App) -> PhoneOut:
    """From now on the phone is let in no more."""

    def revoke() -> PhoneView:
        with parts.database.connection() as db:
            return pairing.revoke(db, caller, phone_id)

    return PhoneOut.model_validate(await apart(revoke))


@router.post("/terminal/connection_tokens", status_code=201)
async def make_connection_token(wish: TokenIn, caller: Cashier, parts: App) -> TokenOut:
    """For an app of your own with the processor's software: a licence to take payments in one shop, good once.

    At most 30 a minute. Each is in the activity log.
    """
    _count(_TOKENS, caller.id)
    places = caller.scope.location_ids
    location_id = wish.location_id or (next(iter(places)) if places and len(places) == 1 else None)
    return TokenOut(secret=await apart(parts.get(Phones).connection_token, caller, location_id))


@router.post("/terminal/onboarding_link", status_code=201)
async def make_onboarding_link(caller: Owner, parts: App) -> LinkOut:
    """Where an owner accepts Apple's terms for Tap to Pay on iPhone."""
    return LinkOut(url=await apart(parts.get(Phones).terms_link, caller))


@router.get("/terminal/phone", dependencies=[PUBLIC])
def read_phone(paired: OfPhone) -> PhoneOut:
    """The phone itself, by its token."""
    return PhoneOut.model_validate(paired.phone)


@router.post("/terminal/phone/connection_tokens", dependencies=[PUBLIC], status_code=201)
async def make_phone_token(paired: OfPhone, parts: App) -> TokenOut:
    """The same as above, for a paired phone and its shop."""
    _count(_TOKENS, paired.phone.id)
    secret = await apart(
        parts.get(Phones).connection_token, paired.caller, paired.phone.location_id
    )
    await apart(_touch, parts, paired)
    return TokenOut(secret=secret)


@router.post("/terminal/phone/payments", dependencies=[PUBLIC], status_code=201)
async def start_phone_sale(
    wish: PhoneSaleIn,
    paired: OfPhone,
    parts: App,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=60)] = None,
) -> PhoneSaleOut:
    """Begin a sale that this phone takes; its software collects and confirms with the client secret.

    With `payment_id` a refused payment is tried again. The same `Idempotency-Key` is the same sale.
    """
    order: Order | Again
    if wish.payment_id is not None:
        order = Again(payment_id=wish.payment_id, form_key=idempotency_key)
    elif wish.amount_minor is not None and wish.currency is not None:
        order = Order(
            amount=Money(wish.amount_minor, wish.currency),
            location_id=paired.phone.location_id,
            reference=wish.reference,
            note=wish.note,
            form_key=idempotency_key,
        )
    else:
        raise AmountMissing(field="amount_minor", reason="")
    await apart(_touch, parts, paired)
    return _sale(await apart(parts.get(Phones).start, paired, order))


@router.get("/terminal/phone/payments/{payment_id}", dependencies=[PUBLIC])
async def read_phone_sale(payment_id: Id, paired: OfPhone, parts: App) -> PhoneSaleOut:
    """How a sale of this phone's user stands."""
    return _sale(await apart(parts.get(Phones).sale, paired, payment_id))


@router.post("/terminal/phone/payments/{payment_id}/finished", dependencies=[PUBLIC])
async def finish_phone_sale(payment_id: Id, paired: OfPhone, parts: App) -> PhoneSaleOut:
    """The app is done, whatever it thinks came of it: the processor is asked, and that is the answer."""
    return _sale(await apart(parts.get(Phones).finished, paired, payment_id))


@router.post("/terminal/phone/payments/{payment_id}/cancel", dependencies=[PUBLIC])
async def cancel_phone_sale(payment_id: Id, paired: OfPhone, parts: App) -> PhoneSaleOut:
    """The app gave up: nothing can be taken any more, or the answer says that it was."""
    return _sale(await apart(parts.get(Phones).cancel, paired, payment_id))


# --- the account ---


@router.get("/processor")
def read_processor(caller: Settling, parts: App, db: ReadDb) -> ProcessorOut:
    """What is connected, and whether its events come."""
    return _processor(parts, accounts.account_of(db, caller.merchant_id), db)


@router.post("/processor/connect")
async def connect_processor(wish: ConnectIn, caller: Owner, parts: App) -> ProcessorOut:
    """Check the keys by asking the account, and keep them sealed. The same account again replaces its keys."""
    secret = wish.webhook_secret
    keys = Keys(
        secret_key=Secret(wish.secret_key.get_secret_value()),
        publishable_key=wish.publishable_key,
        webhook_secret=None if secret is None else Secret(secret.get_secret_value()),
        api_base=wish.api_base,
    )
    account = await apart(
        parts.get(Accounts).connect,
        caller.merchant_id,
        caller.actor,
        keys,
        webhook_url=accounts.webhook_address(parts.settings.base_url),
    )
    return await apart(_processor_now, parts, account)


@router.post("/processor/probe")
async def probe_processor(caller: Owner, parts: App) -> ProcessorOut:
    """Ask again whether mail and telephone orders are allowed."""
    account = await apart(parts.get(Accounts).probe, caller.merchant_id, caller.actor)
    return await apart(_processor_now, parts, account)


@router.delete("/processor", status_code=204)
async def disconnect_processor(caller: Owner, parts: App) -> Response:
    """Forget the keys. 409 `payments_open` while payments wait for their outcome."""
    await apart(parts.get(Accounts).disconnect, caller.merchant_id, caller.actor)
    return Response(status_code=204)


def _known(parts: Parts, caller: Caller, reader_id: str) -> CloudReaderView:
    with parts.database.reading_connection() as db:
        return cloud_readers.reader(db, caller.scope, reader_id)


async def _action(fleet: ReaderFleet, caller: Caller, reader_id: str) -> ActionOut:
    told = (await apart(fleet.answers, caller, reader_id)).action
    if told is None:
        return ActionOut(
            kind="", status="succeeded", failure_code=None, failure_message=None, answers=[]
        )
    return ActionOut(
        kind=told.kind,
        status=told.status,
        failure_code=told.failure_code,
        failure_message=told.failure_message,
        answers=[dict(one) for one in told.inputs],
    )


def _touch(parts: Parts, paired: PairedPhone) -> None:
    with parts.database.connection(durable=False) as db:
        pairing.touch(db, paired)


def _count(limit: RateLimit, who: str) -> None:
    wait = limit.seconds_to_wait(who)
    if wait:
        raise TooManyRequests(retry_after_s=wait)


def _reader(view: CloudReaderView) -> CloudReaderOut:
    return CloudReaderOut.model_validate(view)


def _sale(sale: PhoneSale) -> PhoneSaleOut:
    attempt = sale.payment.attempt
    return PhoneSaleOut(
        payment_id=sale.payment.id,
        state=sale.payment.state,
        amount_minor=sale.payment.amount_minor,
        currency=sale.payment.currency,
        client_secret=None if sale.client_secret is None else sale.client_secret.reveal(),
        code=None if attempt is None else attempt.code,
        message="" if attempt is None else attempt.message,
    )


def _processor_now(parts: Parts, account: AccountView) -> ProcessorOut:
    with parts.database.reading() as db:
        return _processor(parts, account, db)


def _processor(parts: Parts, account: AccountView | None, db: Transaction) -> ProcessorOut:
    if account is None:
        return ProcessorOut(connected=False)
    last = inbox.newest(db, account.merchant_id)
    return ProcessorOut(
        connected=True,
        id=account.id,
        account_id=account.account_id,
        livemode=account.livemode,
        country=account.country,
        default_currency=account.default_currency,
        publishable_key=account.publishable_key,
        is_sandbox=account.is_sandbox,
        moto_enabled=account.moto_enabled,
        moto_probed_at=account.moto_probed_at,
        webhook_url=accounts.webhook_address(parts.settings.base_url, account.id),
        webhook_secrets=account.webhook_secrets,
        last_event_at=last[0].received_at if last else None,
        parked_events=inbox.count(db, account.merchant_id, EventState.PARKED),
    )
