"""Proves the payments of a processor: takes some through the public API, then compares the ledger with its books."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from control_plane.demo.acquirer import Acquirer
from control_plane.demo.answers import Failed, answer_of

_SETTLED_S: Final = 20.0
_LOOK_S: Final = 0.1
_LAST: Final = frozenset({"paid", "open", "canceled"})
#: What money of a kind does to what came in.
_SIGNS: Final = {
    "sale": 1, "adjustment": 1, "refund": -1, "reversal": -1, "dispute": -1, "fee": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Story:
    """One payment to take, and how it must end."""

    name: str
    amount_minor: int
    card: str
    """A test payment method of the processor; empty: on its reader."""
    ends: str
    code: str | None = None
    fault: str = ""
    """What befalls the first call, in the sandbox's words."""
    sent: int = 1
    refund_minor: int = 0


_INTENTS: Final = "POST /v1/payment_intents*"
_NO_MONEY: Final = "pm_card_visa_chargeDeclinedInsufficientFunds"
STORIES: Final = (
    Story("keyed", 21_00, "pm_card_visa", "paid", refund_minor=4_00),
    Story("keyed, declined", 22_05, _NO_MONEY, "open", code="insufficient_funds"),
    Story("keyed, sent twice", 23_00, "pm_card_mastercard", "paid", sent=2),
    Story("keyed, answer lost", 24_00, "pm_card_visa", "paid", fault="lost_answer"),
    Story(
        "keyed, server failed", 25_00, "pm_card_visa", "paid", fault="server_error_after_success"
    ),
    Story("reader", 26_00, "", "paid"),
    Story("reader, declined", 27_01, "", "open", code="call_issuer"),
)


@dataclass(slots=True)
class Taken:
    """One payment as it went."""

    story: str
    amount_minor: int
    payment_id: str = ""
    state: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class ProcessorReport:
    """What was taken, and what stands by the ledger and by the processor's own books, in minor units by currency."""

    payments: list[Taken] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=dict)
    books: dict[str, int] = field(default_factory=dict)


def check_processor(
    api: httpx2.Client,
    acquirer: Acquirer,
    reader_id: str,
    failures: list[str],
    say: Callable[[str], None],
) -> ProcessorReport:
    """Take every story's payment; then compare the books."""
    report = ProcessorReport()
    for story in STORIES:
        taken = Taken(story.name, story.amount_minor)
        report.payments.append(taken)
        try:
            _take(api, acquirer, reader_id, story, taken)
        except (Failed, httpx2.HTTPError) as failure:
            failures.append(f"Stripe, {story.name}: {failure}")
        say(f"Stripe: {story.name} ended {taken.state or 'nowhere'} in {taken.seconds:.1f} s")
    try:
        _compare(api, acquirer, report, failures)
    except (Failed, httpx2.HTTPError) as failure:
        failures.append(f"Stripe, comparing the books: {failure}")
    return report


def _take(
    api: httpx2.Client, acquirer: Acquirer, reader_id: str, story: Story, taken: Taken
) -> None:
    wish: dict[str, Any] = {
        "amount_minor": story.amount_minor, "currency": "EUR", "reference": f"check {story.name}",
    }  # fmt: skip
    if story.card:
        wish |= {"method": "keyed", "token": acquirer.token(story.card), "moto": True}
    else:
        wish |= {"method": "reader", "reader_id": reader_id}
    if story.fault:
        fault = {"kind": story.fault, "on": _INTENTS}
        acquirer.ask("POST", "/_sandbox/faults", json=fault)
    began = time.monotonic()
    key = {"Idempotency-Key": f"check-{story.name}"}
    ids = {
        answer_of(api.post("/v1/payments", json=wish, headers=key))["id"] for _ in range(story.sent)
    }
    if len(ids) != 1:
        raise Failed(f"sent {story.sent} times, it became {len(ids)} payments")
    taken.payment_id = ids.pop()
    payment = _ended(api, taken.payment_id)
    taken.seconds, taken.state = round(time.monotonic() - began, 2), payment["state"]
    if taken.state != story.ends:
        raise Failed(f"ended as {taken.state}, not as {story.ends}. {payment['explanation']}")
    if story.code is not None and payment["attempt"]["code"] != story.code:
        raise Failed(f"the reason is {payment['attempt']['code']}, not {story.code}")
    if story.refund_minor:
        refunds = f"/v1/payments/{taken.payment_id}/refunds"
        answer_of(api.post(refunds, json={"amount_minor": story.refund_minor}, headers=key))


def _ended(api: httpx2.Client, payment_id: str) -> Any:
    deadline = time.monotonic() + _SETTLED_S
    while True:
        payment = answer_of(api.get(f"/v1/payments/{payment_id}"))
        if payment["state"] in _LAST:
            return payment
        if time.monotonic() > deadline:
            raise Failed(f"had not ended after {_SETTLED_S:.0f} s: {payment['state']}")
        time.sleep(_LOOK_S)


def _compare(
    api: httpx2.Client, acquirer: Acquirer, report: ProcessorReport, failures: list[str]
) -> None:
    """The ledger against the processor's own books, to the cent; and each payment's sale in it at most once."""
    rows = [row for row in _ledger(api) if row["source"] == "stripe"]
    sales = Counter(
        row["payment_id"] for row in rows if row["kind"] == "sale" and row["status"] == "approved"
    )
    for taken in report.payments:
        expected = 1 if taken.state == "paid" else 0
        if sales[taken.payment_id] != expected:
            count = sales[taken.payment_id]
            failures.append(f"Stripe, {taken.story}: its sale is {count} times in the ledger")
    ledger: Counter[str] = Counter()
    for row in rows:
        if row["status"] == "approved":
            ledger[row["currency"]] += _SIGNS[row["kind"]] * row["amount_minor"]
    books: Counter[str] = Counter()
    for charge in acquirer.everything("/v1/charges"):
        if charge["status"] == "succeeded":
            books[charge["currency"].upper()] += (
                charge["amount_captured"] - charge["amount_refunded"]
            )
    for dispute in acquirer.everything("/v1/disputes"):
        if dispute["status"] in {"needs_response", "under_review", "lost"}:
            books[dispute["currency"].upper()] -= dispute["amount"]
    report.ledger, report.books = dict(ledger), dict(books)
    if +ledger != +books:
        failures.append(f"Stripe: the ledger has {dict(ledger)}, the processor {dict(books)}")


def _ledger(api: httpx2.Client) -> list[Any]:
    rows: list[Any] = []
    cursor: str | None = None
    while True:
        params = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
        page = answer_of(api.get("/v1/transactions", params=params))
        rows += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return rows
