"""Cards on encrypting readers: the account that takes them, and money given back of their sales."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.api.payments import form_key_of
from control_plane.card_present import accounts, queries, refunds
from control_plane.card_present.accounts import CardAccounts, CardAccountView
from control_plane.card_present.clearing import Clearing
from control_plane.card_present.errors import CardPresentNotConnected, NotOnAnEncryptingReader
from control_plane.card_present.lifecycle import AuthorizationState, RefundState
from control_plane.card_present.processor import Access
from control_plane.card_present.refunds import CardRefundView
from control_plane.http.dependencies import App, ReadDb
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.parts import Parts
from protocols.ids import new_id
from protocols.money import LARGEST_MINOR

router = APIRouter(prefix="/v1", tags=["card present"])

Viewer = Annotated[Caller, requires(Permission.TRANSACTION_VIEW)]
Setting = Annotated[Caller, requires(Permission.SETTINGS_MANAGE)]
Owner = Annotated[Caller, requires(Permission.PROCESSOR_MANAGE)]
Refunder = Annotated[Caller, requires(Permission.PAYMENT_REFUND_CREATE)]
TransactionId = Annotated[str, Path(max_length=64)]

_ACCOUNT_EXAMPLE: Final[dict[str, Any]] = {
    "id": "cpa_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "processor": "cybersource",
    "organization": "omnitill-demo",
    "key_hint": "ey-1",
    "livemode": False,
    "address": "https://apitest.cybersource.com",
    "connected_at": "2026-11-23T09:15:03Z",
    "problem": "",
    "unsettled": 0,
}


class CardAccountIn(BaseModel):
    """A shared secret of CyberSource, from its Business Center under Key Management."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "organization": "omnitill-demo",
                    "key_id": "sandbox-key-1",
                    "secret": "bm9ib2R5J3Mgc2VjcmV0LCBmb3IgcGxheSBtb25leSE=",
                    "livemode": False,
                    "api_base": "http://127.0.0.1:12112",
                }
            ]
        },
    )

    organization: Annotated[str, Field(min_length=1, max_length=64)]
    key_id: Annotated[str, Field(min_length=1, max_length=64)]
    secret: Annotated[SecretStr, Field(min_length=1, max_length=300)]
    livemode: Annotated[
        bool,
        Field(description="Whether the key is of the live environment; it never meets the other."),
    ] = False
    api_base: Annotated[
        str, Field(max_length=300, description="Of a sandbox only; refused where money is real.")
    ] = ""


class CardAccountOut(BaseModel):
    """The account, without its secret."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [_ACCOUNT_EXAMPLE]}
    )

    id: str
    processor: str
    organization: str
    key_hint: str
    livemode: bool
    address: str
    connected_at: datetime
    problem: Annotated[str, Field(description="What it objects to; empty when it works.")]
    unsettled: Annotated[int, Field(description="Payments and refunds it has not confirmed yet.")]


class CardRefundIn(BaseModel):
    """How much to give back; all that is left when it is not said."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"amount_minor": 500, "note": "one cup was broken"}]},
    )

    amount_minor: Annotated[int | None, Field(gt=0, le=LARGEST_MINOR)] = None
    note: Annotated[str, Field(max_length=200)] = ""


class CardRefundOut(BaseModel):
    """A refund of a sale on an encrypting reader."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    original_id: str
    amount_minor: int
    currency: str
    note: str
    state: Annotated[
        RefundState, Field(description="`asked` until the processor confirms it; that is retried.")
    ]
    requested_by_name: str
    requested_at: datetime
    transaction_id: Annotated[str | None, Field(description="Its row in the ledger, once done.")]
    problem: str


class CardSaleOut(BaseModel):
    """The money of a sale on an encrypting reader."""

    session_id: str
    state: AuthorizationState
    amount_minor: int
    left_minor: Annotated[int, Field(description="What can still be given back.")]
    currency: str
    authorization_code: str
    response_code: str
    processor_reference: str
    problem: str
    refunds: list[CardRefundOut]


@router.get("/card-present/account")
def card_present_account(caller: Setting, db: ReadDb) -> CardAccountOut:
    """What takes the cards of encrypting readers. 409 `card_present_not_connected` when nothing does."""
    account = accounts.account_of(db, caller.merchant_id)
    if account is None:
        raise CardPresentNotConnected
    return _account(account, queries.unsettled(db, caller.merchant_id))


@router.put("/card-present/account")
async def connect_card_present(wish: CardAccountIn, caller: Owner, parts: App) -> CardAccountOut:
    """Check the key by asking with it, and keep it sealed. The same organisation again replaces its key."""
    access = Access(
        organization=wish.organization,
        key_id=wish.key_id,
        secret=wish.secret.get_secret_value(),
        livemode=wish.livemode,
        base=wish.api_base,
    )
    account = await apart(parts.get(CardAccounts).connect, caller.merchant_id, caller.actor, access)
    return _account(account, 0)


@router.post("/card-present/account/check")
async def check_card_present(caller: Owner, parts: App) -> CardAccountOut:
    """Ask with the key whether it still works."""
    await apart(parts.get(CardAccounts).check, caller.merchant_id)
    return await apart(_account_now, parts, caller)


@router.delete("/card-present/account", status_code=204)
async def disconnect_card_present(caller: Owner, parts: App) -> None:
    """Forget the key. 409 `card_present_open` while payments are not settled."""
    await apart(parts.get(CardAccounts).disconnect, caller.merchant_id, caller.actor)


@router.get("/card-present/sales/{transaction_id}")
def card_present_sale(transaction_id: TransactionId, caller: Viewer, db: ReadDb) -> CardSaleOut:
    """The money behind a row of the ledger, and what was given back of it."""
    sale = refunds.sale_of(db, caller.scope, transaction_id)
    if sale is None:
        raise NotOnAnEncryptingReader("sale", transaction_id)
    return CardSaleOut(
        session_id=sale.session_id,
        state=sale.state,
        amount_minor=sale.amount.minor,
        left_minor=sale.left.minor,
        currency=sale.amount.currency,
        authorization_code=sale.authorization_code,
        response_code=sale.response_code,
        processor_reference=sale.processor_reference,
        problem=sale.problem,
        refunds=[
            CardRefundOut.model_validate(one)
            for one in refunds.refunds_of(db, caller.scope, transaction_id)
        ],
    )


@router.post("/card-present/sales/{transaction_id}/refunds", status_code=201)
async def refund_card_present(
    transaction_id: TransactionId,
    caller: Refunder,
    parts: App,
    wish: CardRefundIn | None = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> CardRefundOut:
    """Give money back through the processor; the card need not be there. The same key is the same refund.

    409 `not_captured_yet` right after the sale, 422 `card_refund_too_large`.
    """
    return CardRefundOut.model_validate(
        await apart(
            give_back, parts, caller, transaction_id,
            form_key_of(idempotency_key) or new_id("frm"), wish or CardRefundIn(),
        )
    )  # fmt: skip


def give_back(
    parts: Parts, caller: Caller, transaction_id: str, form_key: str, wish: CardRefundIn
) -> CardRefundView:
    """Promise it, ask the processor at once, and tell how it stands; what is not answered, the clock asks again."""
    with parts.database.connection() as db:
        begun = refunds.begin(
            db, caller, transaction_id, form_key, amount_minor=wish.amount_minor, note=wish.note
        )
    if begun.state is RefundState.ASKED:
        parts.get(Clearing).give_back(begun.id)
    with parts.database.reading_connection() as db:
        return refunds.refund(db, begun.id)


def _account_now(parts: Parts, caller: Caller) -> CardAccountOut:
    with parts.database.reading_connection() as db:
        account = accounts.account_of(db, caller.merchant_id)
        if account is None:
            raise CardPresentNotConnected
        return _account(account, queries.unsettled(db, caller.merchant_id))


def _account(account: CardAccountView, unsettled: int) -> CardAccountOut:
    return CardAccountOut(
        id=account.id,
        processor=account.processor,
        organization=account.organization,
        key_hint=account.key_hint,
        livemode=account.livemode,
        address=account.address,
        connected_at=account.connected_at,
        problem=account.problem,
        unsettled=unsettled,
    )
