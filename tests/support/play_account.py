"""A processor account on the sandbox, as tests use it: make tokens, set faults, look at what really happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control_plane.sandbox import confirmation_tokens, payment_methods
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.faults import Fault, FaultKind
from tests.support.stripe_sandbox import SandboxServer

VISA = "4242424242424242"
DECLINED = "4000000000000002"
INSUFFICIENT = "4000000000009995"
NEEDS_3DS = "4000002760003184"
DISPUTED = "4000000000000259"
REFUND_FAILS = "4000000000005126"


@dataclass(frozen=True, slots=True)
class PlayAccount:
    """One account of play money. The sandbox listens on ``url`` and sends its webhooks by itself."""

    server: SandboxServer

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def engine(self) -> Sandbox:
        return self.server.sandbox

    # --- what a browser does ---

    def token(
        self,
        number: str = VISA,
        *,
        cvc: str | None = "123",
        expiry: tuple[int, int] = (12, 2034),
        name: str = "Ada Lovelace",
        line1: str | None = "1 Analytical Way",
        postal_code: str | None = "10001",
        country: str = "US",
        save: bool = False,
    ) -> str:
        """``ctoken_…`` of a card that was typed into the provider's fields."""
        typed = payment_methods.TypedCard(
            number=number, exp_month=expiry[0], exp_year=expiry[1], cvc=cvc
        )
        address = {"line1": line1, "postal_code": postal_code, "country": country}
        billing = {
            "name": name,
            "address": {key: value for key, value in address.items() if value is not None},
        }
        with self.engine.transaction():
            method = payment_methods.card_method(self.engine, typed, billing=billing)
            usage = "off_session" if save else None
            issued = confirmation_tokens.issue(self.engine, method, setup_future_usage=usage)
        return str(issued["id"])

    def bank_token(
        self, kind: str = "us_bank_account", *, verified: bool = True, **account: str
    ) -> str:
        """``ctoken_…`` of a bank account; ``account`` has ``account_number`` and the like, or ``iban``."""
        details: dict[str, Any] = {
            "us_bank_account": {
                "account_number": "000123456789",
                "routing_number": "110000000",
                "account_holder_type": "individual",
            },
            "sepa_debit": {"iban": "AT611904300234573201"},
        }[kind]
        billing = {"name": "Ada Lovelace", "email": "ada@example.com"}
        params = {"type": kind, kind: {**details, **account}, "billing_details": billing}
        online = {"ip_address": "127.0.0.1", "user_agent": "tests"}
        with self.engine.transaction():
            method = payment_methods.bank_method(self.engine, params, verified=verified)
            issued = confirmation_tokens.issue(
                self.engine,
                method,
                mandate_data={"customer_acceptance": {"type": "online", "online": online}},
            )
        return str(issued["id"])

    # --- what goes wrong ---

    def fault(
        self, kind: FaultKind, on: str = "POST *", *, times: int = 1, delay_s: float = 0.0
    ) -> Fault:
        """The next ``times`` calls that fit go wrong. ``on`` is such as ``POST /v1/payment_intents*``."""
        return self.engine.faults.add(Fault(kind=kind, on=on, times=times, delay_s=delay_s))

    def put_forward(self, *, days: float = 0, seconds: float = 0) -> None:
        """Put the sandbox's clock forward; what is due happens."""
        self.engine.put_forward(days * 86_400 + seconds)

    # --- what really happened ---

    def objects(self, kind: str, **equal: object) -> list[dict[str, Any]]:
        """Everything of a kind, oldest first: ``payment_intent``, ``charge``, ``refund``, …"""
        return self.engine.store.find(kind, **equal)[::-1]

    def taken(self) -> list[dict[str, Any]]:
        """Charges that took money, or hold it."""
        return [one for one in self.objects("charge") if one["status"] == "succeeded"]

    def balance(self, currency: str = "usd") -> int:
        """What all balance transactions add up to, before fees, in minor units."""
        return sum(
            one["amount"]
            for one in self.objects("balance_transaction")
            if one["currency"] == currency
        )
