"""The demo's account with the card processor: the sandbox as a child program, its readers, and first payments.

Everything goes the way it goes with real money; only the address and the key differ.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import httpx2

from control_plane.accounts.caller import Caller
from control_plane.demo.children import program
from control_plane.parts import Parts
from control_plane.virtual_terminal.accounts import Accounts, Keys
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.saved_methods import SaveWish, save
from control_plane.virtual_terminal.wishes import ChargeWish, Order, RefundWish
from protocols.money import Money
from protocols.secret import Secret

SECRET_KEY: Final = "sk_test_omnitill_demo"  # noqa: S105 - play money only
PUBLISHABLE_KEY: Final = "pk_test_omnitill_demo"
#: The words on its screen, and what it is called here.
READERS: Final = (("simulated-s700", "Till 3"), ("simulated-wpe", "Handheld"))
_ADDRESS: Final = {
    "line1": "12 place Bellecour",
    "city": "Lyon",
    "postal_code": "69002",
    "country": "FR",
}
_READY_S: Final = 20.0
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sale:
    """A payment that was taken before anybody came in."""

    cents: int
    method: str
    """A test payment method of the processor."""
    note: str
    customer: int | None = None
    currency: str = "EUR"
    capture_later: bool = False
    refund_cents: int = 0
    kind: Literal["keyed", "bank_debit"] = "keyed"


_SALES: Final = (
    _Sale(cents=48_00, method="pm_card_visa", note="Weekly delivery", customer=1),
    _Sale(cents=126_50, method="pm_card_mastercard", note="Birthday cake", customer=0),
    _Sale(cents=5_200, method="pm_card_amex", note="Gift box to Kyoto", currency="JPY"),
    _Sale(
        cents=89_00, method="pm_card_chargeDeclinedInsufficientFunds", note="Grinder", customer=2
    ),
    _Sale(
        cents=150_00, method="pm_card_visa", note="Evening event", customer=3, capture_later=True
    ),
    _Sale(
        cents=64_80, method="pm_card_visa_debit", note="Lunch order", customer=4, refund_cents=14_90
    ),
    _Sale(cents=75_00, method="pm_card_createDispute", note="Voucher by phone", customer=5),
)


#: A customer's place in the list, and what they let the shop keep.
_SAVED: Final = ((1, "pm_card_visa"), (3, "pm_card_amex"), (7, "pm_card_mastercard"))
_CONSENT: Final = "Maison Lumière may keep this card and charge it for my orders. I can take this back at any time."


class Acquirer:
    """The sandbox's address, and what is done there for the demo."""

    def __init__(self, url: str) -> None:
        self.url = url

    @staticmethod
    def command(host: str, port: int, folder: Path) -> list[str]:
        """The child program."""
        return [
            program("omnitill"), "sandbox",
            "--host", host,
            "--port", str(port),
            "--database", str(folder / "sandbox.sqlite3"),
            "--country", "FR",
            "--currency", "eur",
        ]  # fmt: skip

    def wait(self) -> None:
        """Until it answers. Raises TimeoutError."""
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                self.ask("GET", "/v1/account")
            except httpx2.TransportError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"The sandbox does not answer on {self.url}.") from None
                time.sleep(_LOOK_S)
            else:
                return

    def connect(self, parts: Parts, owner: Caller) -> None:
        """Make it the merchant's account; the webhook is set up by the way."""
        keys = Keys(
            secret_key=Secret(SECRET_KEY), publishable_key=PUBLISHABLE_KEY, api_base=self.url
        )
        parts.get(Accounts).connect(
            owner.merchant_id,
            owner.actor,
            keys,
            webhook_url=f"{parts.settings.base_url}/webhooks/stripe",
        )

    def add_readers(self, parts: Parts, owner: Caller, location_id: str) -> None:
        """Two readers, in the shop."""
        fleet = parts.get(ReaderFleet)
        for code, name in READERS:
            fleet.register(owner, code=code, name=name, location_id=location_id, address=_ADDRESS)

    def send_customers(self, pace: float) -> None:
        """From now on somebody presents a card at each reader, a moment after it asks; also at those to come."""
        habit = {"auto_present_s": 3 * pace, "authorization_s": 1.5 * pace}
        self.ask("POST", "/_sandbox/account", json=habit)
        for reader in self.ask("GET", "/_sandbox/readers"):
            self.ask("POST", f"/_sandbox/readers/{reader['id']}/customer", json=habit)

    def trade(
        self, parts: Parts, cashier: Caller, manager: Caller, customers: Sequence[str]
    ) -> None:
        """Keep a few cards, and take a few payments, one of each fate."""
        desk = parts.get(Desk)
        for number, method in _SAVED:
            wish = SaveWish(
                customer_id=customers[number],
                token=self.token(method),
                kind="card",
                consent_text=_CONSENT,
                consent_how="phone",
            )
            save(desk.office, cashier, wish)
        for sale in _SALES:
            order = Order(
                amount=Money(sale.cents, sale.currency),
                location_id=None,
                customer_id=customers[sale.customer] if sale.customer is not None else None,
                note=sale.note,
                capture_later=sale.capture_later,
            )
            payment = desk.charge(
                cashier,
                ChargeWish(
                    order=order,
                    method=sale.kind,
                    token=self.token(sale.method),
                    moto=True,
                ),
            )
            if sale.refund_cents:
                desk.refund(
                    manager, RefundWish(payment_id=payment.id, amount_minor=sale.refund_cents)
                )

    def token(self, method: str) -> str:
        """A confirmation token for a test payment method, as a browser would have made it."""
        path = "/v1/test_helpers/confirmation_tokens"
        return str(self.ask("POST", path, data={"payment_method": method})["id"])

    # Any: JSON, and what httpx2 takes.
    def ask(self, method: str, path: str, **more: Any) -> Any:
        """One call of its API, or of its control calls. Raises what httpx2 raises."""
        headers = {"Authorization": f"Bearer {SECRET_KEY}"}
        url = f"{self.url}{path}"
        answer = httpx2.request(method, url, headers=headers, timeout=10, **more)
        answer.raise_for_status()
        return answer.json()

    def everything(self, path: str) -> list[Any]:
        """All pages of a list of its API."""
        found: list[Any] = []
        after: dict[str, str] = {}
        while True:
            page = self.ask("GET", path, params={"limit": "100", **after})
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"starting_after": found[-1]["id"]}
