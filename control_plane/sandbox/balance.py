"""The account's money: what each charge, refund and dispute moved, the fee, the exchange, and when it is available."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stripe.params import (
    BalanceRetrieveParams,
    BalanceTransactionListParams,
    BalanceTransactionRetrieveParams,
    ExchangeRateListParams,
    ExchangeRateRetrieveParams,
)

from control_plane.sandbox import money
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import Json, no_such
from control_plane.sandbox.routing import Call, Routes, listing
from control_plane.sandbox.shapes import make

routes = Routes()

#: Business days until the money of a card payment is available.
_AVAILABLE_DAYS = 2


def book(
    sandbox: Sandbox,
    *,
    kind: str,
    source: str,
    amount: int,
    currency: str,
    description: str | None = None,
    fee: int = 0,
    fee_description: str = "Stripe processing fees",
    at_once: bool = False,
    category: str | None = None,
) -> Json:
    """One balance transaction. ``amount`` is signed, in ``currency``; ``fee`` is in the account's currency."""
    home = sandbox.settings.default_currency
    settled, rate = money.exchanged(amount, currency, home)
    available = sandbox.now() if at_once else _available_on(sandbox.now())
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": home,
            "description": fee_description,
            "type": "stripe_fee",
        }
    ]
    booked = sandbox.create(
        "balance_transaction",
        "txn_3",
        amount=settled,
        available_on=available,
        balance_type="payments",
        currency=home,
        description=description,
        exchange_rate=None if currency == home else float(rate),
        fee=fee,
        fee_details=details if fee else [],
        net=settled - fee,
        reporting_category=category or kind,
        source=source,
        status="available" if at_once else "pending",
        type=kind,
    )
    if not at_once:
        sandbox.store.schedule(available, "make_available", booked["id"])
    return booked


def book_charge(
    sandbox: Sandbox, charge: Json, amount: int, *, method: str, at_once: bool = False
) -> Json:
    """What a captured charge brings, less the fee."""
    home = sandbox.settings.default_currency
    details = charge["payment_method_details"][method]
    card_country = details.get("country")
    fee = money.fee_of(
        money.exchanged(amount, charge["currency"], home)[0],
        home,
        method=method,
        foreign=card_country not in (None, sandbox.settings.country),
        converted=charge["currency"] != home,
    )
    return book(
        sandbox,
        kind="payment" if method in ("us_bank_account", "sepa_debit") else "charge",
        category="charge",
        source=charge["id"],
        amount=amount,
        currency=charge["currency"],
        description=charge["description"],
        fee=fee,
        at_once=at_once,
    )


@routes.task("make_available")
def make_available(sandbox: Sandbox, identifier: str) -> None:
    booked = sandbox.fetch("balance_transaction", identifier)
    booked["status"] = "available"
    sandbox.save(booked)
    sandbox.emit("balance.available", _balance(sandbox))


@routes.get("/v1/balance", BalanceRetrieveParams)
def retrieve_balance(call: Call) -> Json:
    return _balance(call.sandbox)


@routes.get("/v1/balance_transactions", BalanceTransactionListParams)
def list_all(call: Call) -> Json:
    params = call.params
    return call.page(
        "balance_transaction",
        type=params.get("type"),
        currency=params.get("currency"),
        source=params.get("source"),
    )


@routes.get("/v1/balance_transactions/{transaction}", BalanceTransactionRetrieveParams)
def retrieve(call: Call, transaction: str) -> Json:
    return call.sandbox.fetch("balance_transaction", transaction)


@routes.get("/v1/exchange_rates", ExchangeRateListParams)
def list_rates(call: Call) -> Json:
    return listing([_rates(one) for one in money.rates_of("usd")], call.path)


@routes.get("/v1/exchange_rates/{currency}", ExchangeRateRetrieveParams)
def retrieve_rate(call: Call, currency: str) -> Json:
    del call
    if currency not in money.rates_of("usd"):
        raise no_such("exchange rate", currency)
    return _rates(currency)


def _rates(currency: str) -> Json:
    return make("exchange_rate", id=currency, rates=money.rates_of(currency))


def _balance(sandbox: Sandbox) -> Json:
    sums = {"available": 0, "pending": 0}
    for one in sandbox.store.find("balance_transaction"):
        sums[one["status"]] += one["net"]
    currency = sandbox.settings.default_currency
    parts = {
        status: [{"amount": amount, "currency": currency, "source_types": {"card": amount}}]
        for status, amount in sums.items()
    }
    return make("balance", **parts)


def _available_on(now: int) -> int:
    """Two business days later, at midnight UTC."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    left = _AVAILABLE_DAYS
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    return int(day.timestamp())
