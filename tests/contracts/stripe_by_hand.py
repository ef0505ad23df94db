"""The adapter against a real Stripe account in test mode, by hand: what the sandbox cannot prove about Stripe.

Example:
  STRIPE_KEY=sk_test_… python -m tests.contracts.stripe_by_hand
  STRIPE_KEY=sk_test_any python -m tests.contracts.stripe_by_hand --base http://127.0.0.1:12111

Moves play money only: it refuses a live key. What it makes stays in the account's test data.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import stripe

from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.processors.stripe.client import Access
from control_plane.virtual_terminal.declines import explain
from control_plane.virtual_terminal.processor import (
    Confirmation,
    Declined,
    NewIntent,
    NewSetup,
    ProcessorPayment,
)
from protocols.money import Money


class ByHand:
    """Steps in the order in which they need each other. Each says what it saw, or fails."""

    def __init__(self, access: Access) -> None:
        self._port = StripeProcessor(access)
        self._client = stripe.StripeClient(
            access.secret_key, base_addresses={"api": access.base} if access.base else None
        )
        self._run = uuid4().hex[:12]
        self._currency = "USD"
        self._moto = False

    def steps(self) -> list[Callable[[], str]]:
        """All of them."""
        return [
            self.account,
            self.telephone_orders,
            self.charge,
            self.same_key,
            self.decline,
            self.hold_and_capture,
            self.refund,
            self.saved_card,
            self.lost_answer,
            self.history,
        ]

    def account(self) -> str:
        info = self._port.account()
        self._currency = info.default_currency
        return f"{info.id}, {info.country}, {info.default_currency}"

    def telephone_orders(self) -> str:
        before = self._payments()
        self._moto = self._port.probe_moto()
        assert self._payments() == before, "the probe left a payment behind"
        return "open" if self._moto else "not open; Stripe opens them on request"

    def charge(self) -> str:
        paid = self._charge("pm_card_visa", "charge")
        assert paid.status == "succeeded"
        assert paid.charge is not None
        assert paid.charge.settlement is not None, "no balance transaction in the one answer"
        return f"{paid.id}, fee {paid.charge.settlement.fee_minor}, moto {paid.charge.moto}"

    def same_key(self) -> str:
        token = self._token("pm_card_visa")
        ids = {self._charge(token, "same").id for _ in range(2)}
        assert len(ids) == 1
        return "one payment for two calls"

    def decline(self) -> str:
        try:
            self._charge("pm_card_visa_chargeDeclinedInsufficientFunds", "decline")
        except Declined as declined:
            words = explain(declined.decline.code)
            assert words.is_known
            return f"{declined.decline.code}: {words.text}"
        raise AssertionError("a card without money was charged")

    def hold_and_capture(self) -> str:
        held = self._charge("pm_card_visa", "hold", manual=True)
        assert held.status == "requires_capture"
        taken = self._port.capture(held.id, amount_minor=500, key=f"{self._run}:capture")
        assert taken.received_minor == 500
        return f"{held.id}, 500 of {held.amount.minor}"

    def refund(self) -> str:
        paid = self._charge("pm_card_visa", "refund")
        given = self._port.refund(
            paid.id, amount_minor=100, reason=None, metadata={}, key=f"{self._run}:give"
        )
        assert [one.id for one in self._port.refunds_of(paid.id)] == [given.id]
        return f"{given.id}, {given.status}"

    def saved_card(self) -> str:
        customer = self._port.save_customer(
            None, name="By hand", email="", phone="", metadata={}, key=f"{self._run}:customer"
        )
        new = NewSetup(
            customer_id=customer.id,
            methods=("card",),
            token=self._token("pm_card_visa"),
            moto=self._moto,
        )
        card = self._port.setup(new, key=f"{self._run}:setup").instrument
        assert card is not None
        paid = self._port.create_payment(
            self._order("saved", customer_id=customer.id),
            Confirmation(
                instrument_id=card.processor_id,
                off_session=True,
                fail_on_action=True,
                stored_usage="unscheduled",
            ),
            key=f"{self._run}:saved",
        )
        return f"{paid.id}, {paid.status}; stored_credential_usage was taken"

    def lost_answer(self) -> str:
        found = self._port.find_payment("attempt", f"{self._run}:charge")
        assert found is not None
        assert self._port.find_payment("attempt", f"{self._run}:nothing") is None
        return found.id

    def history(self) -> str:
        past = list(self._port.history(datetime.now(UTC) - timedelta(minutes=10)))
        return f"{len(past)} objects"

    def _payments(self) -> list[str]:
        return [one.id for one in self._client.v1.payment_intents.list({"limit": 5}).data]

    def _token(self, method: str) -> str:
        made = self._client.v1.test_helpers.confirmation_tokens.create({"payment_method": method})
        return made.id

    def _order(
        self, name: str, *, manual: bool = False, customer_id: str | None = None
    ) -> NewIntent:
        return NewIntent(
            amount=Money(1234, self._currency),
            methods=("card",),
            metadata={"attempt": f"{self._run}:{name}"},
            capture="manual" if manual else "automatic",
            customer_id=customer_id,
        )

    def _charge(self, card: str, name: str, *, manual: bool = False) -> ProcessorPayment:
        token = card if card.startswith("ctoken_") else self._token(card)
        return self._port.create_payment(
            self._order(name, manual=manual),
            Confirmation(token=token, moto=self._moto),
            key=f"{self._run}:{name}",
        )


def main() -> int:
    """Exit code 0 when every step saw what it should."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="", help="another server than Stripe's, to try this out")
    access = Access(secret_key=os.environ.get("STRIPE_KEY", ""), base=parser.parse_args().base)
    if not access.secret_key.startswith(("sk_test_", "rk_test_")):
        sys.stderr.write("Set STRIPE_KEY to a key that begins with sk_test_ or rk_test_.\n")
        return 2
    for step in ByHand(access).steps():
        sys.stdout.write(f"{step.__name__}: {step()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
